package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	api "k8s.io/kubelet/pkg/apis/deviceplugin/v1beta1"
)

// Plugin serves one resource to the kubelet.
type Plugin struct {
	api.UnimplementedDevicePluginServer
	resource Resource
	server   *grpc.Server
	stopped  chan struct{}
}

// Start serves a resource at a socket of its own and tells the kubelet of it.
func Start(ctx context.Context, resource Resource, sockets, kubelet string) (*Plugin, error) {
	socket := "simulated-" + strings.ReplaceAll(strings.TrimPrefix(resource.Name, Domain), "/", "-") + ".sock"
	path := filepath.Join(sockets, socket)
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	listener, err := net.Listen("unix", path)
	if err != nil {
		return nil, err
	}
	plugin := &Plugin{resource: resource, server: grpc.NewServer(), stopped: make(chan struct{})}
	api.RegisterDevicePluginServer(plugin.server, plugin)
	go plugin.server.Serve(listener) //nolint:errcheck // it ends when it is stopped
	connection, err := grpc.NewClient("unix:"+kubelet, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		plugin.Stop()
		return nil, err
	}
	defer connection.Close()
	bounded, done := context.WithTimeout(ctx, 10*time.Second)
	defer done()
	request := &api.RegisterRequest{Version: api.Version, Endpoint: socket, ResourceName: resource.Name}
	if _, err = api.NewRegistrationClient(connection).Register(bounded, request, grpc.WaitForReady(true)); err != nil {
		plugin.Stop()
		return nil, fmt.Errorf("the kubelet does not take %s: %w", resource.Name, err)
	}
	return plugin, nil
}

// Stop ends what the kubelet listens to, which takes the devices for gone then.
func (p *Plugin) Stop() {
	close(p.stopped)
	p.server.Stop()
}

// GetDevicePluginOptions says that nothing is done beyond the least.
func (p *Plugin) GetDevicePluginOptions(context.Context, *api.Empty) (*api.DevicePluginOptions, error) {
	return &api.DevicePluginOptions{}, nil
}

// ListAndWatch says which devices there are. Simulated ones do not break.
func (p *Plugin) ListAndWatch(_ *api.Empty, stream grpc.ServerStreamingServer[api.ListAndWatchResponse]) error {
	var devices []*api.Device
	for _, id := range p.resource.IDs {
		devices = append(devices, &api.Device{ID: id, Health: api.Healthy})
	}
	if err := stream.Send(&api.ListAndWatchResponse{Devices: devices}); err != nil {
		return err
	}
	select {
	case <-p.stopped:
	case <-stream.Context().Done():
	}
	return nil
}

// Allocate tells a container of its devices in the variable that NVIDIA's runtime reads.
func (p *Plugin) Allocate(_ context.Context, request *api.AllocateRequest) (*api.AllocateResponse, error) {
	response := &api.AllocateResponse{}
	for _, container := range request.ContainerRequests {
		ids := container.DevicesIds
		if p.resource.Single && len(ids) > 1 {
			return nil, fmt.Errorf("%d of %s are asked for: of what is shared one container gets one", len(ids), p.resource.Name)
		}
		var devices []string
		for _, id := range ids {
			device, _, _ := strings.Cut(id, "::")
			if !slices.Contains(devices, device) {
				devices = append(devices, device)
			}
		}
		response.ContainerResponses = append(response.ContainerResponses, &api.ContainerAllocateResponse{
			Envs: map[string]string{"NVIDIA_VISIBLE_DEVICES": strings.Join(devices, ",")},
		})
	}
	return response, nil
}
