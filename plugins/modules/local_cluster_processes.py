# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation of the action plugin of the same name."""

DOCUMENTATION = r"""
module: local_cluster_processes
short_description: Start and stop the processes of a node of a local cluster
description:
  - Runs processes under a supervisord of their own, which starts them again when they end.
  - Before the first start it cleans up what a killed cluster left, and remembers what the cluster changes on the
    machine.
    After the last stop it takes all of that back.
  - A process restarts when its command or one of its input files has changed, and only then.
options:
  state:
    description: Whether the processes run; V(killed) ends them at once, as a power cut does, and cleans nothing.
    type: str
    choices: [started, stopped, killed]
    default: started
  log_dir:
    description: Where the logs of the processes go.
    type: path
    required: true
  node:
    description: Whether the processes are a whole node. Processes that are not in the list are then stopped.
    type: bool
    default: false
  programs:
    description: Paths of programs, by the name that the first word of a command may call them by.
    type: dict
    default: {}
  processes:
    description: The processes in the order in which they start.
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description: Name of the process.
        type: str
        required: true
      command:
        description: Program and arguments.
        type: list
        elements: str
        required: true
      inputs:
        description: Files whose change restarts the process.
        type: list
        elements: path
        default: []
      environment:
        description: Environment variables.
        type: dict
        default: {}
      ready:
        description: What answers when the process is ready.
        type: dict
        required: true
        suboptions:
          url:
            description: An address that answers 200.
            type: str
          socket:
            description: A Unix socket that accepts.
            type: str
          identity:
            description: Whom to trust and who to be when asking O(processes[].ready.url).
            type: dict
            suboptions:
              authority:
                description: The certificate of the authority to trust.
                type: path
                required: true
              pair:
                description: The certificate and key to show.
                type: path
  start_seconds:
    description: How long all of it may take.
    type: int
    default: 180
  stop_seconds:
    description: How long pods and left-over processes may take to end.
    type: int
    default: 15
extends_documentation_fragment:
  - mlops.platform.action
  - mlops.platform.action.host
author: The mlops.platform maintainers (@mlops)
"""

EXAMPLES = r"""
- name: Stop the cluster
  mlops.platform.local_cluster_processes:
    state: stopped
    host: "{{ cluster_host }}"
    log_dir: /var/lib/mlops-platform/mlops/log
"""

RETURN = r"""
started:
  description: The processes that were started.
  returned: when O(state=started)
  type: list
  elements: str
swept:
  description: What an earlier start had left and was removed first.
  returned: when O(state=started)
  type: list
  elements: str
killed:
  description: How many processes were ended.
  returned: when O(state=killed)
  type: int
stopped:
  description: What was stopped and removed.
  returned: when O(state=stopped)
  type: list
  elements: str
"""
