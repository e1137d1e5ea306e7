"""Whether what models are given is still what they were trained with: compared, reported, and told to Prometheus."""
