// A device plugin without devices: it tells the kubelet of GPUs that an inventory describes, under the names and by the
// configuration of NVIDIA's device plugin, and answers Prometheus with the metrics of NVIDIA's exporter for DCGM.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/fsnotify/fsnotify"
	api "k8s.io/kubelet/pkg/apis/deviceplugin/v1beta1"
)

func main() {
	node := flag.String("node", os.Getenv("NODE_NAME"), "the name of the node, of which the names of devices are made")
	config := flag.String("config", "/etc/gpu-simulated/config.json", "the configuration, as NVIDIA's device plugin reads it")
	described := flag.String("devices", "/etc/gpu-simulated/devices.json", "what the node has")
	sockets := flag.String("sockets", api.DevicePluginPath, "the folder in which the kubelet looks for sockets")
	pods := flag.String("pod-resources", "/var/lib/kubelet/pod-resources/kubelet.sock", "where the kubelet says who holds what")
	listen := flag.String("listen", ":9400", "the address for Prometheus")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, *node, *config, *described, *sockets, *pods, *listen); err != nil {
		slog.Error(err.Error())
		os.Exit(1)
	}
}

func run(ctx context.Context, node, config, described, sockets, pods, listen string) error {
	var settings Config
	var devices Devices
	if err := errors.Join(read(config, &settings), read(described, &devices)); err != nil {
		return err
	}
	resources, err := Offer(node, settings, devices)
	if err != nil {
		return err
	}
	var registered atomic.Bool
	answer := http.NewServeMux()
	answer.Handle("/metrics", &Exporter{Node: node, Devices: devices, Settings: settings, Pods: pods})
	answer.HandleFunc("/health", func(w http.ResponseWriter, _ *http.Request) {
		if !registered.Load() {
			http.Error(w, "the kubelet does not know the devices yet", http.StatusServiceUnavailable)
		}
	})
	server := &http.Server{Addr: listen, Handler: answer, ReadHeaderTimeout: 5 * time.Second}
	failed := make(chan error, 1)
	go func() { failed <- server.ListenAndServe() }()
	defer server.Close()
	return offer(ctx, resources, sockets, &registered, failed)
}

// offer registers all resources whenever the kubelet begins to listen: it forgets them when it is started anew, and
// removes their sockets.
func offer(ctx context.Context, resources []Resource, sockets string, registered *atomic.Bool, failed <-chan error) error {
	watcher, err := fsnotify.NewWatcher()
	if err != nil {
		return err
	}
	defer watcher.Close()
	if err := watcher.Add(sockets); err != nil {
		return fmt.Errorf("%s cannot be watched: %w", sockets, err)
	}
	kubelet := filepath.Join(sockets, filepath.Base(api.KubeletSocket))
	plugins := make([]*Plugin, 0, len(resources))
	defer func() { stopAll(plugins) }()
	start := func() error {
		stopAll(plugins)
		plugins = plugins[:0]
		for _, resource := range resources {
			plugin, err := Start(ctx, resource, sockets, kubelet)
			if err != nil {
				return err
			}
			plugins = append(plugins, plugin)
			slog.Info("registered", "resource", resource.Name, "devices", len(resource.IDs))
		}
		registered.Store(true)
		return nil
	}
	if _, err := os.Stat(kubelet); err == nil {
		if err := start(); err != nil {
			return err
		}
	}
	for {
		select {
		case <-ctx.Done():
			return nil
		case err := <-failed:
			return err
		case err := <-watcher.Errors:
			return err
		case event := <-watcher.Events:
			switch {
			case event.Name != kubelet:
			case event.Has(fsnotify.Remove):
				registered.Store(false)
			case event.Has(fsnotify.Create):
				if err := start(); err != nil {
					return err
				}
			}
		}
	}
}

func stopAll(plugins []*Plugin) {
	for _, plugin := range plugins {
		plugin.Stop()
	}
}

func read(path string, into any) error {
	content, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(content, into); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return nil
}
