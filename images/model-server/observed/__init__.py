"""What a served model says of itself: metrics of its requests, rows and predictions, and a log of them in S3."""
