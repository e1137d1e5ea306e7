"""What a run does to which models, what it applies for one, and which versions it refuses untouched."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from ansible_collections.mlops.platform.plugins.module_utils.errors import PlatformError
from ansible_collections.mlops.platform.plugins.module_utils.health import parse_checks
from ansible_collections.mlops.platform.plugins.module_utils.models import deploy, predict
from ansible_collections.mlops.platform.plugins.module_utils.models.deploy import Record
from ansible_collections.mlops.platform.plugins.module_utils.models.inference_service import Serving, Settings
from ansible_collections.mlops.platform.plugins.module_utils.models.plan import plan
from ansible_collections.mlops.platform.plugins.module_utils.models.registry import Field, ModelVersion, Signature
from ansible_collections.mlops.platform.plugins.module_utils.models.release import ANNOTATION

IRIS, WINE = Settings("iris"), Settings("Wine_2")
OUTPUT = (Field("", "int64", shape=(-1,)),)
EDGE = {
    "type": "edge", "listener": "https", "issuer": "platform-ca", "openshift": False,
    "service": {"name": "platform", "namespace": "envoy-gateway-system", "port": 443},
}  # fmt: skip
MLFLOW = {
    "service": {"name": "mlflow", "port": 5000, "namespace": "mlops"},
    "credentials": "mlops/mlflow-service", "artifact_root": "s3://mlflow-artifacts",
}  # fmt: skip
VERSION = ModelVersion(
    name="Wine_2", version="4", alias="champion", run_id="r", model_id="m-1", uri="s3://b/2/models/m-1/artifacts",
    source="mlflow-artifacts:/2/models/m-1/artifacts", flavors={"python_function": {}, "xgboost": {}},
    signature=Signature((Field("length", "double"),), OUTPUT), input_example="", requirements={"xgboost": "3.1"},
)  # fmt: skip


def test_a_site_serves_what_it_declares_and_what_is_asked_for_besides() -> None:
    own = Settings("iris", version=2)
    steps = plan("provision", [IRIS], [WINE, own], [], alone=False)
    assert steps == [("provision", Record(own, declared=True)), ("provision", Record(WINE))]


def test_what_is_declared_no_more_is_removed_and_what_was_deployed_by_hand_is_not() -> None:
    served = [Record(WINE, declared=True), Record(Settings("by-hand"))]
    assert plan("provision", [IRIS], [], served, alone=False) == [
        ("provision", Record(IRIS, declared=True)),
        ("remove", Record(WINE, declared=True)),
    ]


def test_one_that_is_deployed_alone_leaves_all_others_alone() -> None:
    assert plan("provision", [IRIS], [WINE], [Record(IRIS, declared=True)], alone=True) == [("provision", Record(WINE))]


def test_what_is_served_and_what_should_be_is_validated() -> None:
    served = [Record(Settings("wine-2", rows="x.csv"))]
    steps = plan("validate", [IRIS, WINE], [], served, alone=False)
    assert steps == [("validate", Record(IRIS, declared=True)), ("validate", served[0])]


def test_only_what_is_served_can_be_removed() -> None:
    served = [Record(Settings("wine-2", min_replicas=2), declared=True)]
    assert plan("remove", [IRIS], [WINE], served, alone=False) == [("remove", served[0])]
    with pytest.raises(PlatformError, match="iris is not served; served are wine-2"):
        plan("remove", [], [IRIS], served, alone=False)
    with pytest.raises(PlatformError, match="did you mean wine-2"):
        plan("remove", [], [Settings("wine-3")], served, alone=False)


def test_its_objects_are_the_engines_and_its_record_is_what_was_asked_for() -> None:
    record = Record(replace(WINE, min_replicas=0), declared=True)
    made = {item["kind"]: item for item in deploy.objects(VERSION, record, Serving(edge=EDGE))}
    assert set(made) == {"ConfigMap", "InferenceService", "HTTPRoute"}
    assert {item["metadata"]["labels"]["mlops.platform/component"] for item in made.values()} == {"model-wine-2"}
    assert Record.parse(made["ConfigMap"]["data"]["model.json"]) == record


@pytest.mark.parametrize("edge", [EDGE, {}])
def test_its_check_is_one_that_the_engine_knows(edge: dict[str, Any]) -> None:
    component = deploy.component(WINE, Serving(edge=edge), MLFLOW, "4")
    assert (component.name, component.version, component.namespace) == ("model-wine-2", "4", "models")
    (check,) = parse_checks(component)
    host = "https://wine-2.mlops.internal" if edge else "http://wine-2-predictor.models.mlops.internal"
    assert check.target == f"{host}/v2/models/wine-2/infer"


def service(**metadata: Any) -> dict[str, Any]:
    return {"metadata": {"name": "wine-2", "namespace": "models", **metadata}}


def test_another_ones_inference_service_is_left_alone() -> None:
    deploy.refuse_foreign(None, "Wine_2")
    deploy.refuse_foreign(service(labels={"mlops.platform/model": "wine-2"}), "Wine_2")
    with pytest.raises(PlatformError, match="is there and is not the platform's"):
        deploy.refuse_foreign(service(), "Wine_2")


def test_a_release_that_is_under_way_is_left_alone() -> None:
    releasing = service(labels={"mlops.platform/model": "wine-2"}, annotations={ANNOTATION: "{}"})
    with pytest.raises(PlatformError, match="a release of the model Wine_2 is under way"):
        deploy.refuse_foreign(releasing, "Wine_2")


def refused(version: ModelVersion, settings: Settings = WINE, before: ModelVersion | None = None) -> str:
    """Why a version is refused; empty where it is not."""
    try:
        deploy.refuse_unservable(version, settings, before)
    except PlatformError as error:
        return str(error)
    return ""


def test_a_flavour_that_the_server_cannot_load_is_named() -> None:
    said = refused(replace(VERSION, flavors={"spark": {}}))
    assert "its flavours are spark; the platform's runtime loads the flavour python_function" in said


def test_a_version_that_clients_would_not_understand_is_refused() -> None:
    other = replace(VERSION, version="5", signature=Signature((Field("width", "double"),), OUTPUT))
    said = refused(other, before=VERSION)
    assert "clients of version 4, which is served, would not understand it: the input length: double is gone" in said
    assert refused(other, replace(WINE, signature_may_change=True), VERSION) == ""
    assert refused(replace(VERSION, version="5"), before=VERSION) == ""
    assert refused(other) == ""


def test_a_runtime_of_the_sites_own_loads_what_it_loads() -> None:
    assert refused(replace(VERSION, flavors={"spark": {}}), replace(WINE, runtime="own")) == ""


def test_the_first_row_of_a_request() -> None:
    column = {"name": "a", "shape": [3, 1], "datatype": "FP64", "data": [1, 2, 3]}
    tensor = {"name": "b", "shape": [2, 2, 2], "datatype": "FP64", "data": [1, 2, 3, 4, 5, 6, 7, 8]}
    found = predict.row({"parameters": {"content_type": "pd"}, "inputs": [column, tensor]})
    assert found == {
        "parameters": {"content_type": "pd"},
        "inputs": [column | {"shape": [1, 1], "data": [1]}, tensor | {"shape": [1, 2, 2], "data": [1, 2, 3, 4]}],
    }
