# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a person does now, by the cause of a failure."""

from __future__ import annotations

import re

# The first pattern that is found in a failure's message counts: the more particular cause stands before the more
# general one. {host} is the component; {1} the first group of the pattern.
NEXT_STEPS = tuple(
    (re.compile(pattern, re.IGNORECASE), step)
    for pattern, step in (
        (r"nothing was touched", "Correct what is listed and run the same command again; nothing has to be undone."),
        (r"(?:requires|comes after) (\S+), which failed", "Mend {1}; the next run goes on here by itself."),
        (
            r"Kubernetes API at .* cannot be reached",
            "Check that the cluster runs and that KUBECONFIG names it; `make up` starts a stopped embedded cluster.",
        ),
        (r"supported are \S+ to", "Use a cluster of a supported version, or a release of the collection for it."),
        (
            r"StorageClass|platform_storage_class|unbound .*PersistentVolumeClaim|no persistent volumes",
            "Mark a StorageClass as default, or set platform_storage_class to one that can provide volumes.",
        ),
        (
            r"ImagePullBackOff|ErrImage|InvalidImageName",
            "Check that the image is in its registry and that the nodes may pull it; `make images` builds and pushes "
            "those of the platform to platform_image_registry.",
        ),
        (
            r"CreateContainerConfigError",
            "The Secret, ConfigMap or key that the message names is missing: correct the variable that names it, "
            "or run `make site`, which makes those of the platform.",
        ),
        (r"OOMKilled", "The container used more memory than it may: raise the memory limit in {host}_resources."),
        (
            r"crashed \d+ times|CrashLoopBackOff|CreateContainerError",
            "Read the pod's last lines in the evidence, correct what they complain about, and run again.",
        ),
        (
            r"cannot be scheduled",
            "The nodes have no room for the pod: add some, set `platform_profile: minimal`, or lower {host}_resources.",
        ),
        (
            r"violates PodSecurity",
            "The namespace does not admit such pods: correct the settings that the message names, or the pod_security "
            "of the component.",
        ),
        (r"exceeded quota", "Raise the quota of the namespace, or lower {host}_resources."),
        (
            r"forbidden|cannot \w+ resource",
            "Give the user of the kubeconfig the right that the message names, then run again.",
        ),
        (
            r"No space left|disk full|disk quota|minimum free drive|storage .*full",
            "The volume is full: free space on it, or give the component a larger one.",
        ),
        (r"read-only transaction", "The database takes no writes: end its read-only mode or its recovery first."),
        (
            r"password authentication failed|InvalidAccessKeyId|SignatureDoesNotMatch",
            "The service refuses the login in its Secret: `make site` sets the platform's own again; correct those "
            "that a variable gives.",
        ),
        (
            r"BackoffLimitExceeded|DeadlineExceeded",
            "Read the Job's last lines in the evidence; once the cause is mended the next run starts it again.",
        ),
        (
            r"let in|answered with 200|not refused:",
            "Somebody gets in who must not: `make site` sets rights and configuration again; find out who did it, "
            "and restart pods that still run with what they were given.",
        ),
        (
            r"scaled to 0 replicas|leads nowhere|port \d+ of pod .*connection refused|NoSuchBucket|AccessDenied"
            r"|Secret \S+ (?:does not exist|has no key)|extensions that are missing|permission denied for",
            "`make site` puts back what was changed or removed since it was applied; the evidence names the objects.",
        ),
        (r"Invalid Host header", "Add the name by which it is reached to {host}_allowed_hosts, or run `make site`."),
        (r"has not been provisioned", "Run `make site` first: there is nothing yet to validate."),
        (
            r"is not ready after",
            "See in the evidence what its pods wait for; where they only need longer, run the same command again.",
        ),
        (r"port \d+ .*is used by", "Stop what uses the port, or set another one."),
        (
            r"unreachable|connection ?refused|timed ?out|no endpoints|no pod is ready|Service .* does not exist",
            "Nothing answered: see whether the service's pods are ready and its selector and port are theirs, "
            "then `make validate`.",
        ),
    )
)
CHECK_STEP = "`make validate` shows whether it lasts; what was observed and what is expected say what is wrong."
TASK_STEP = "Correct the cause and run the same command again: what is done already is not done twice."


def next_step(message: str, host: str, kind: str) -> str:
    """One sentence for a failure: `message` is its cause, `kind` is check or task."""
    for pattern, step in NEXT_STEPS:
        if found := pattern.search(message):
            return step.replace("{host}", host).replace("{1}", found[1] if found.re.groups else "")
    return CHECK_STEP if kind == "check" else TASK_STEP
