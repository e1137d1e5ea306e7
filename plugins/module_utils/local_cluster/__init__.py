"""What the role `local_cluster` needs from Python: one real Kubernetes node on the machine that runs Ansible."""
