"""From a registered model to its InferenceService and its route, and what counts as the same prediction."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
import yaml
from ansible_collections.mlops.platform.plugins.module_utils.checks.base import CheckFailed
from ansible_collections.mlops.platform.plugins.module_utils.checks.mlflow import MlflowApi
from ansible_collections.mlops.platform.plugins.module_utils.errors import PlatformError
from ansible_collections.mlops.platform.plugins.module_utils.models import inference_service, predict, registry, route
from ansible_collections.mlops.platform.plugins.module_utils.models.declared import contradictions
from ansible_collections.mlops.platform.plugins.module_utils.models.inference_service import Serving, Settings
from ansible_collections.mlops.platform.plugins.module_utils.models.registry import Field, ModelVersion, Signature

ROOT = "s3://mlflow-artifacts"
PLACE = "2/models/m-8ba/artifacts"
COLUMN = {"type": "double", "name": "length", "required": True}
MLMODEL = {
    "flavors": {"python_function": {"loader_module": "mlflow.sklearn"}, "sklearn": {"sklearn_version": "1.9.1"}},
    "model_id": "m-8ba",
    "saved_input_example_info": {"artifact_path": "input_example.json", "type": "dataframe"},
    "signature": {
        "inputs": json.dumps([COLUMN]),
        "outputs": json.dumps([{"type": "tensor", "tensor-spec": {"dtype": "int64", "shape": [-1]}}]),
    },
}
IRIS = ModelVersion(
    name="iris", version="3", alias="champion", run_id="a21", model_id="m-8ba", uri=f"{ROOT}/{PLACE}",
    source=f"mlflow-artifacts:/{PLACE}", flavors=MLMODEL["flavors"],  # type: ignore[arg-type]
    signature=Signature((Field("length", "double"),), (Field("", "int64", shape=(-1,)),)),
    input_example="input_example.json", requirements={"mlflow": "3.17.2", "scikit-learn": "1.9.1"},
)  # fmt: skip


class Registry(MlflowApi):
    """A registry as MLflow 3.17 answers, with one model of three versions whose files may be gone."""

    def __init__(self, files: Mapping[str, str] | None = None, source: str = f"mlflow-artifacts:/{PLACE}") -> None:
        self.files = files if files is not None else {"MLmodel": yaml.safe_dump(MLMODEL), "requirements.txt": "a==1\n"}
        self.source = source

    def call(self, method: str, path: str, **fields: object) -> dict[str, Any]:
        version = {"name": "iris", "version": "3", "run_id": "a21", "status": "READY"}
        known: dict[object, dict[str, Any]] = {
            ("registered-models/alias", "iris", "champion"): {"model_version": version},
            ("model-versions/get", "iris", "3"): {"model_version": version},
            ("model-versions/get-download-uri", "iris", "3"): {"artifact_uri": self.source},
        }
        if path == "registered-models/search":
            aliases = [{"alias": "champion", "version": "3"}]
            return {"registered_models": [{"name": "iris", "aliases": aliases, "latest_versions": [{"version": "3"}]}]}
        key = (path, fields["name"], fields.get("alias") or fields.get("version"))
        if key not in known:
            raise CheckFailed("GET answered 403: Permission denied", 403, 200)
        return known[key]

    def artifact(self, method: str, path: str, content: bytes | None = None) -> bytes:
        name = path.removeprefix(f"{PLACE}/")
        if name not in self.files:
            raise CheckFailed("An error occurred (404) when calling the HeadObject operation", 500, 200)
        return self.files[name].encode()


def test_an_alias_leads_to_the_files_in_s3() -> None:
    found = registry.resolve(Registry(), "iris", ROOT, alias="champion")
    assert found == replace(IRIS, requirements={"a": "1"})
    assert found.flavor == "sklearn"
    assert registry.resolve(Registry(), "iris", ROOT, version="3") == replace(found, alias="")


@pytest.mark.parametrize(
    ("name", "asked", "words"),
    [
        ("irys", {"alias": "champion"}, "'irys' is not in the registry; did you mean iris?; registered are iris"),
        ("iris", {"alias": "champions"}, "no alias 'champions'; did you mean champion?; its aliases are champion"),
        ("iris", {"version": "7"}, "no version 7; its newest is 3"),
    ],
)
def test_what_is_not_registered_is_told_with_what_is(name: str, asked: dict[str, str], words: str) -> None:
    with pytest.raises(registry.NotRegistered) as told:
        registry.resolve(Registry(), name, ROOT, **asked)
    assert words in str(told.value).replace('"', "'")


def test_files_that_are_gone_are_named() -> None:
    with pytest.raises(PlatformError, match=f"{ROOT}/{PLACE}/MLmodel does not exist"):
        registry.resolve(Registry(files={}), "iris", ROOT, alias="champion")


def test_a_model_without_a_list_of_packages_and_signature_is_known_as_such() -> None:
    found = registry.resolve(Registry(files={"MLmodel": "flavors: {}"}), "iris", ROOT, alias="champion")
    assert (found.requirements, found.signature, found.input_example) == ({}, None, "")


@pytest.mark.parametrize(
    ("source", "root", "uri"),
    [
        ("mlflow-artifacts:/2/models/m-1/artifacts", "s3://bucket", "s3://bucket/2/models/m-1/artifacts"),
        ("mlflow-artifacts:/2/m", "s3://bucket/folder/", "s3://bucket/folder/2/m"),
        ("mlflow-artifacts://mlflow:5000/2/m", "s3://bucket", "s3://bucket/2/m"),
        ("s3://other/2/m", "s3://bucket", "s3://other/2/m"),
    ],
)
def test_the_place_in_s3_is_below_the_servers_root(source: str, root: str, uri: str) -> None:
    assert registry.s3_uri(source, root) == uri


@pytest.mark.parametrize("source", ["file:///mlruns/1", "gs://bucket/1", "/mlruns/1"])
def test_a_place_that_is_not_s3_is_refused(source: str) -> None:
    with pytest.raises(PlatformError, match="must be in S3"):
        registry.s3_uri(source, ROOT)


def test_packages_are_compared_by_their_normalized_names() -> None:
    model = replace(IRIS, requirements=registry.pinned("scikit_learn==1.9.1\nxgboost[gpu]==3.1\n# a word\n-e .\nfoo>1"))
    assert model.requirements == {"scikit-learn": "1.9.1", "xgboost": "3.1", "foo": ""}
    assert registry.lacking(model, {"scikit-learn": "1.8.0", "foo": "2.0"}) == ["xgboost"]
    assert registry.lacking(model, {"scikit-learn": "1.9.1", "foo-binary": "2.0", "xgboost-cpu": "3.2.0"}) == []


def signature(*inputs: Field, output: str = "int64") -> Signature:
    """A signature with some inputs and one output."""
    return Signature(inputs, (Field("", output, shape=(-1,)),))


LENGTH, WIDTH = Field("length", "double"), Field("width", "double")


@pytest.mark.parametrize(
    ("after", "said"),
    [
        (signature(LENGTH, WIDTH), []),
        (signature(LENGTH, WIDTH, replace(WIDTH, name="depth", required=False)), []),
        (signature(LENGTH), ["the input width: double is gone"]),
        (signature(LENGTH, WIDTH, Field("depth", "long")), ["the input depth: long is new and required"]),
        (signature(LENGTH, Field("width", "string")), ["the input width was double and is string"]),
        (signature(LENGTH, WIDTH, output="string"), ["the output tensor was int64 and is string"]),
        (None, ["one of the two was logged without a signature"]),
    ],
)
def test_what_clients_can_no_longer_rely_on_is_told(after: Signature | None, said: list[str]) -> None:
    assert registry.broken_promises(signature(LENGTH, WIDTH), after) == said


@pytest.mark.parametrize(
    ("model", "name"), [("iris", "iris"), ("Fraud_Model v2", "fraud-model-v2"), ("a" * 46, "a" * 46)]
)
def test_a_models_name_becomes_a_dns_label(model: str, name: str) -> None:
    assert inference_service.service_name(model) == name


@pytest.mark.parametrize("model", ["", "2nd", "模型", "a" * 47])
def test_a_name_of_which_none_can_be_made_is_refused(model: str) -> None:
    with pytest.raises(PlatformError, match="begins with a letter"):
        inference_service.service_name(model)


def test_the_inference_service_says_which_version_it_serves() -> None:
    found = inference_service.manifest(IRIS, Settings("iris"), Serving())
    assert found["metadata"]["labels"] == {
        "mlops.platform/model": "iris", "mlops.platform/model-version": "3", "mlops.platform/run-id": "a21",
    }  # fmt: skip
    predictor = found["spec"]["predictor"]
    assert predictor["model"]["storageUri"] == IRIS.uri
    assert predictor["model"]["env"] == [{"name": "MLSERVER_MODEL_VERSION", "value": "3"}]
    assert (predictor["minReplicas"], predictor["maxReplicas"]) == (1, 3)
    assert "nodeSelector" not in predictor
    without_run = inference_service.manifest(replace(IRIS, run_id=""), Settings("iris"), Serving())
    assert "mlops.platform/run-id" not in without_run["metadata"]["labels"]
    watched = inference_service.manifest(IRIS, Settings("iris"), Serving(labels={"iter8.tools/watch": "true"}))
    assert watched["metadata"]["labels"] == found["metadata"]["labels"] | {"iter8.tools/watch": "true"}
    assert watched["metadata"]["annotations"] == found["metadata"]["annotations"]


@pytest.mark.parametrize(
    ("standard", "metric", "annotations"),
    [
        (False, "concurrency", {"serving.kserve.io/deploymentMode": "Knative",
                                "autoscaling.knative.dev/class": "kpa.autoscaling.knative.dev"}),
        (False, "cpu", {"serving.kserve.io/deploymentMode": "Knative",
                        "autoscaling.knative.dev/class": "hpa.autoscaling.knative.dev"}),
        (True, "cpu", {"serving.kserve.io/deploymentMode": "Standard", "serving.kserve.io/autoscalerClass": "hpa"}),
    ],
)  # fmt: skip
def test_the_autoscaler_goes_by_the_metric(standard: bool, metric: str, annotations: dict[str, str]) -> None:
    found = inference_service.manifest(IRIS, Settings("iris", scale_metric=metric), Serving(standard=standard))
    assert annotations.items() <= found["metadata"]["annotations"].items()
    assert found["spec"]["predictor"]["scaleMetric"] == metric


def test_a_model_that_asks_for_a_gpu_gets_its_nodes() -> None:
    taint = {"key": "nvidia.com/gpu", "operator": "Exists"}
    serving = Serving(
        gpu_limit=2, gpu_node_selector={"workload-type": "inference"}, gpu_tolerations=(taint,),
        node_selector={"zone": "a"}, resources={"requests": {"cpu": "1"}},
    )  # fmt: skip
    predictor = inference_service.manifest(IRIS, Settings("iris", gpu=True), serving)["spec"]["predictor"]
    assert predictor["nodeSelector"] == {"zone": "a", "workload-type": "inference"}
    assert predictor["tolerations"] == [taint]
    assert predictor["model"]["resources"] == {"requests": {"cpu": "1"}, "limits": {"nvidia.com/gpu": "2"}}
    plain = inference_service.manifest(IRIS, Settings("iris"), serving)["spec"]["predictor"]
    assert (plain["nodeSelector"], plain["model"]["resources"]) == ({"zone": "a"}, {"requests": {"cpu": "1"}})
    assert "tolerations" not in plain


@pytest.mark.parametrize(("low", "high", "expected"), [(None, None, (1, 3)), (5, None, (5, 5)), (0, 2, (0, 2))])
def test_replicas_are_the_models_own_or_the_platforms(
    low: int | None, high: int | None, expected: tuple[int, int]
) -> None:
    settings = Settings("iris", min_replicas=low, max_replicas=high)
    predictor = inference_service.manifest(IRIS, settings, Serving())["spec"]["predictor"]
    assert (predictor["minReplicas"], predictor["maxReplicas"]) == expected


EDGE = {"service": {"name": "platform", "namespace": "envoy-gateway-system", "port": 443}, "listener": "https"}


def test_requests_go_by_knatives_gateway_under_the_name_that_it_knows() -> None:
    found = route.manifest("iris", Serving(edge=EDGE, knative_domain="knative.internal", request_seconds=60))
    assert found is not None
    assert (found["metadata"]["namespace"], found["spec"]["hostnames"]) == ("kourier-system", ["iris.mlops.internal"])
    parent = {"name": "platform", "namespace": "envoy-gateway-system", "sectionName": "https"}
    assert found["spec"]["parentRefs"] == [parent]
    (rule,) = found["spec"]["rules"]
    assert rule["backendRefs"] == [{"name": "kourier", "port": 80}]
    assert rule["filters"][0]["urlRewrite"]["hostname"] == "iris-predictor.models.knative.internal"
    assert rule["timeouts"] == {"request": "60s"}


def test_without_knative_they_go_to_the_predictor_itself() -> None:
    found = route.manifest("iris", Serving(edge=EDGE | {"listener": ""}, standard=True))
    assert found is not None
    assert found["metadata"]["namespace"] == "models"
    assert found["spec"]["parentRefs"] == [{"name": "platform", "namespace": "envoy-gateway-system"}]
    (rule,) = found["spec"]["rules"]
    assert rule["backendRefs"] == [{"name": "iris-predictor", "port": 80}]
    assert "filters" not in rule


def test_on_openshift_it_is_a_route_to_the_predictor() -> None:
    edge = EDGE | {"openshift": True}
    found = route.manifest("iris", Serving(edge=edge, standard=True))
    assert found is not None
    assert (found["kind"], found["spec"]["host"]) == ("Route", "iris.mlops.internal")
    assert found["spec"]["to"]["name"] == "iris-predictor"
    assert route.manifest("iris", Serving(edge=edge)) is None


def test_without_an_edge_there_is_no_route() -> None:
    assert route.manifest("iris", Serving()) is None


def output(*data: Any, name: str = "output-1") -> dict[str, Any]:
    """An output of the V2 protocol."""
    return {"name": name, "data": list(data)}


@pytest.mark.parametrize(
    ("expected", "got"),
    [
        ([output(2, 0)], [output(2, 0, name="predict")]),
        ([output(0.1)], [output(0.1 + 1e-9)]),
        ([output(1.0, None)], [output(1, None)]),
        ([output(0.25, 0.75)], [output([0.25, 0.75])]),
        ([output("a", name="x"), output(1, name="y")], [output(1, name="y"), output("a", name="x")]),
    ],
)
def test_the_same_predictions_are_the_same(expected: list[dict[str, Any]], got: list[dict[str, Any]]) -> None:
    assert predict.differences(expected, got) == []


@pytest.mark.parametrize(
    ("expected", "got", "said"),
    [
        ([output(2, 0)], [output(2, 1)], "1 of 2 values of output-1 differ: [1] 1 is not 0"),
        ([output(0.1)], [output(0.1001)], "1 of 1 values of output-1 differ: [0] 0.1001 is not 0.1"),
        ([output(1.0)], [output(None)], "[0] None is not 1.0"),
        ([output("1")], [output(1)], "[0] 1 is not '1'"),
        ([output(2, 0)], [output(2)], "output-1 has 1 values, expected 2"),
        ([output(2)], [], "the outputs are nothing, expected output-1"),
        ([output(2, name="x"), output(3, name="y")], [output(2, name="x")], "the outputs are x, expected x, y"),
    ],
)
def test_other_predictions_are_told(expected: list[dict[str, Any]], got: list[dict[str, Any]], said: str) -> None:
    (found,) = predict.differences(expected, got)
    assert said in found


ENTRY = {"name": "iris"}
INPUTS = {
    "uri": "s3://model-inputs", "endpoint_url": "http://minio:9000", "region": "us-east-1", "authorities": "",
    "secret": "minio-model-inputs",
}  # fmt: skip


def logged(**settings: Any) -> dict[str, Any]:
    model = replace(IRIS, reference="s3://mlflow-artifacts/1/reference.parquet" if settings.get("drift") else "")
    made = inference_service.manifest(model, Settings("iris", **settings), Serving(inputs=INPUTS))
    return {item["name"]: item.get("value") or item["valueFrom"]["secretKeyRef"]
            for item in made["spec"]["predictor"]["model"]["env"] if item["name"].startswith("MODEL_LOG_")}  # fmt: skip


def test_a_model_logs_what_it_is_given_where_that_is_asked_for() -> None:
    assert logged() == {}
    assert logged(log_inputs=True, log_percent=5) == {
        "MODEL_LOG_URI": "s3://model-inputs", "MODEL_LOG_ENDPOINT_URL": "http://minio:9000",
        "MODEL_LOG_REGION": "us-east-1", "MODEL_LOG_PERCENT": "5", "MODEL_LOG_RUN_ID": IRIS.run_id,
        "MODEL_LOG_ACCESS_KEY": {"name": "minio-model-inputs", "key": "access-key"},
        "MODEL_LOG_SECRET_KEY": {"name": "minio-model-inputs", "key": "secret-key"},
    }  # fmt: skip
    assert logged(drift=True)["MODEL_LOG_REFERENCE"] == "s3://mlflow-artifacts/1/reference.parquet"


class Listed:
    """An MLflow whose runs have logged some files."""

    def __init__(self, *files: str) -> None:
        self.files = [{"path": name} for name in files]

    def call(self, method: str, path: str, **fields: object) -> dict[str, Any]:
        assert (method, path, fields) == ("GET", "artifacts/list", {"run_id": IRIS.run_id})
        return {"root_uri": f"mlflow-artifacts:/1/{IRIS.run_id}/artifacts", "files": self.files}


def test_the_training_rows_are_found_in_the_run() -> None:
    where = f"s3://mlflow-artifacts/1/{IRIS.run_id}/artifacts"
    for name in ("reference.parquet", "reference.json"):
        api: Any = Listed("model", name)
        assert registry.reference(api, IRIS, "s3://mlflow-artifacts") == f"{where}/{name}"


@pytest.mark.parametrize(
    ("model", "said"),
    [(IRIS, r"its run .* logged model; log the training rows"), (replace(IRIS, run_id=""), "it was logged in no run")],
)
def test_a_model_without_training_rows_is_refused(model: Any, said: str) -> None:
    api: Any = Listed("model")
    with pytest.raises(PlatformError, match=said):
        registry.reference(api, model, "s3://mlflow-artifacts")


@pytest.mark.parametrize(
    ("models", "serving", "where", "matter"),
    [
        ([ENTRY, {"name": "Iris", "version": 2}], Serving(), "platform_models[1].name", "is served as iris, too"),
        ([{"name": "2nd"}], Serving(), "platform_models[0].name", "begins with a letter"),
        ([{"name": "mlflow"}], Serving(), "platform_models[0].name", "is the host of the component mlflow"),
        ([ENTRY | {"alias": "a", "version": 2}], Serving(), "platform_models[0].alias", "allowed is one of the two"),
        ([ENTRY | {"min_replicas": 3, "max_replicas": 2}], Serving(), "platform_models[0].max_replicas", "3 or more"),
        ([ENTRY | {"max_replicas": 2}], Serving(min_replicas=3), "platform_models[0].max_replicas", "3 or more"),
        ([ENTRY | {"min_replicas": 0, "max_replicas": 0}], Serving(), "platform_models[0].max_replicas", "1 or more"),
        ([ENTRY | {"min_replicas": 0}], Serving(standard=True, scale_metric="cpu"), "platform_models[0].min_replicas",
         "allowed is 1 or more"),
        ([ENTRY | {"scale_metric": "rps"}], Serving(standard=True, scale_metric="cpu"),
         "platform_models[0].scale_metric", "allowed are cpu, memory"),
        ([ENTRY | {"scale_metric": "cpu", "min_replicas": 0}], Serving(), "platform_models[0].scale_metric",
         "set min_replicas to 1"),
        ([ENTRY | {"rows": "/nowhere.csv"}], Serving(), "platform_models[0].rows", "no such file"),
        ([ENTRY], Serving(mlflow_runtime=False), "platform_models[0].runtime", "give a runtime of your own"),
        ([ENTRY | {"log_inputs": True}], Serving(), "platform_models[0].log_inputs", "needs kserve_inputs_secret"),
        ([ENTRY | {"log_inputs": True, "runtime": "own"}], Serving(inputs=INPUTS), "platform_models[0].runtime",
         "by the platform's own runtime alone"),
        ([ENTRY | {"drift": True}], Serving(inputs=INPUTS), "platform_models[0].drift", "add the component drift"),
        ([ENTRY | {"log_percent": 0}], Serving(), "platform_models[0].log_percent", "allowed are 1 to 100"),
    ],
)  # fmt: skip
def test_models_that_contradict_themselves_are_refused(
    models: list[dict[str, Any]], serving: Serving, where: str, matter: str
) -> None:
    ((found, _, told),) = contradictions(models, serving, ["mlflow"])
    assert found == where
    assert matter in told


def test_models_that_are_right_are_left_alone() -> None:
    own = {"name": "own", "runtime": "triton", "scale_metric": "rps", "min_replicas": 0, "max_replicas": 9}
    assert list(contradictions([ENTRY, own], Serving(), ["mlflow"])) == []
