# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the role `local_cluster` needs from Python: one real Kubernetes node on the machine that runs Ansible."""
