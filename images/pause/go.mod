module mlops.platform/pause

go 1.26.0
