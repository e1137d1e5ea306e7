# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What an image of the catalogue is called."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

from ansible.errors import AnsibleLookupError
from ansible.plugins.lookup import LookupBase
from ansible_collections.mlops.platform.plugins.module_utils.errors import PlatformError
from ansible_collections.mlops.platform.plugins.module_utils.images import Catalogue

DOCUMENTATION = r"""
name: image
short_description: The reference of an image, the path of a program
description:
  - Works out the full reference of an image of the catalogue, from what the image is made of. Neither a registry nor a
    cluster is asked.
  - Reads the variables O(platform_images), O(platform_image_registry), O(platform_images_mirror) and
    O(platform_cache_dir).
options:
  _terms:
    description: Names in the catalogue.
    required: true
  platform_images:
    description: The catalogue.
    type: dict
    vars:
      - name: platform_images
  platform_image_registry:
    description: Where built images are.
    type: str
    vars:
      - name: platform_image_registry
  platform_images_mirror:
    description: The registry that stands in for every upstream one.
    type: str
    default: ""
    vars:
      - name: platform_images_mirror
  platform_cache_dir:
    description: The folder that holds programs.
    type: path
    vars:
      - name: platform_cache_dir
author:
  - The mlops.platform maintainers (@mlops)
"""

EXAMPLES = r"""
- name: Show where the image of MLflow is
  ansible.builtin.debug:
    msg: "{{ lookup('mlops.platform.image', 'mlflow') }}"
"""

RETURN = r"""
_raw:
  description: One reference or path for each name.
  type: list
  elements: str
"""


class LookupModule(LookupBase):  # type: ignore[misc]
    """The lookup `mlops.platform.image`."""

    _last: ClassVar[tuple[object, Catalogue, Path] | None] = None
    """The catalogue for the variables it was made from: a task that asks for five images reads it once."""

    def run(self, terms: list[str], variables: dict[str, Any] | None = None, **options: Any) -> list[str]:
        try:
            catalogue, cache = self._catalogue(variables or {}, options)
            return [catalogue.locate(name, cache) for name in terms]
        except PlatformError as error:
            raise AnsibleLookupError(str(error)) from error

    def _catalogue(self, variables: dict[str, Any], options: dict[str, Any]) -> tuple[Catalogue, Path]:
        last = LookupModule._last
        if last and last[0] is variables and not options:
            return last[1:]
        # Options that come from variables reach a lookup as they stand in the inventory, not templated.
        names = ("platform_images", "platform_image_registry", "platform_images_mirror", "platform_cache_dir")
        given = {name: variables[name] for name in names if name in variables}
        self.set_options(var_options={**variables, **self._templar.template(given)}, direct=options)
        catalogue = Catalogue.load(
            self.get_option("platform_images"),
            registry=self.get_option("platform_image_registry"),
            mirror=self.get_option("platform_images_mirror"),
        )
        cache = Path(self.get_option("platform_cache_dir"))
        LookupModule._last = None if options else (variables, catalogue, cache)
        return catalogue, cache
