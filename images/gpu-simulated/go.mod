module mlops.platform/gpu-simulated

go 1.26.4

require (
	github.com/fsnotify/fsnotify v1.10.1
	google.golang.org/grpc v1.82.0
	k8s.io/kubelet v0.36.3
)

require (
	golang.org/x/net v0.56.0 // indirect
	golang.org/x/sys v0.47.0 // indirect
	golang.org/x/text v0.39.0 // indirect
	google.golang.org/genproto/googleapis/rpc v0.0.0-20260610212136-7ab31c22f7ad // indirect
	google.golang.org/protobuf v1.36.12-0.20260120151049-f2248ac996af // indirect
)
