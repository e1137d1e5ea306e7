package main

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	podresources "k8s.io/kubelet/pkg/apis/podresources/v1"
)

// Exporter answers with the metrics that rules and dashboards read of NVIDIA's exporter, by its names and labels
// (https://github.com/NVIDIA/dcgm-exporter). A GPU computes, and has taken memory, while a pod holds it.
type Exporter struct {
	Node     string
	Settings Config
	Devices  Devices
	Pods     string
}

// metrics by name: the help and the value of an instance, idle and held, by its memory in MiB and percent of computing.
var metrics = []struct {
	name, kind, help string
	value            func(held bool, memory, percent int) int
}{
	{"DCGM_FI_DEV_GPU_UTIL", "gauge", "GPU utilization (in %).", func(held bool, _, percent int) int { return when(held, percent, 0) }},
	{"DCGM_FI_DEV_FB_USED", "gauge", "Framebuffer memory used (in MiB).", func(held bool, memory, _ int) int { return used(held, memory) }},
	{"DCGM_FI_DEV_FB_FREE", "gauge", "Framebuffer memory free (in MiB).", func(held bool, memory, _ int) int { return memory - used(held, memory) }},
	{"DCGM_FI_DEV_GPU_TEMP", "gauge", "GPU temperature (in C).", func(held bool, _, percent int) int { return when(held, 40+percent/3, 34) }},
	{"DCGM_FI_DEV_POWER_USAGE", "gauge", "Power draw (in W).", func(held bool, _, percent int) int { return when(held, 60+2*percent, 45) }},
	{"DCGM_FI_DEV_XID_ERRORS", "gauge", "Value of the last XID error encountered.", func(bool, int, int) int { return 0 }},
}

func when(held bool, yes, no int) int {
	if held {
		return yes
	}
	return no
}

// used is what of an instance's memory is taken: half by who holds it, a hundredth by the driver.
func used(held bool, memory int) int { return when(held, memory/2, memory/100) }

// holder is the container that has an instance.
type holder struct{ namespace, pod, container string }

func (e *Exporter) ServeHTTP(w http.ResponseWriter, request *http.Request) {
	held, err := e.holders(request.Context())
	if err != nil {
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
		return
	}
	w.Header().Set("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
	for _, metric := range metrics {
		fmt.Fprintf(w, "# HELP %s %s\n# TYPE %s %s\n", metric.name, metric.help, metric.name, metric.kind)
		for _, instance := range Instances(e.Node, e.Settings, e.Devices) {
			by := held[instance.UUID]
			if len(by) == 0 {
				by = []holder{{}}
			}
			for _, who := range by {
				value := metric.value(who != holder{}, e.memory(instance), e.Devices.HeldPercent)
				fmt.Fprintf(w, "%s{%s} %d\n", metric.name, e.labels(instance, who), value)
			}
		}
	}
}

// memory of an instance in MiB: all of the GPU's, or what the name of its profile says.
func (e *Exporter) memory(instance Instance) int {
	gigabytes := 0
	if _, err := fmt.Sscanf(instance.Profile[strings.Index(instance.Profile, ".")+1:], "%dgb", &gigabytes); err != nil {
		return e.Devices.MemoryMiB
	}
	return gigabytes * 1024
}

func (e *Exporter) labels(instance Instance, who holder) string {
	gpu := uuid(e.Node, instance.GPU, "", 0)
	pairs := []string{
		"gpu", fmt.Sprint(instance.GPU), "UUID", "GPU-" + gpu, "device", fmt.Sprintf("nvidia%d", instance.GPU),
		"modelName", e.Devices.Product, "Hostname", e.Node,
	}
	if instance.Profile != "" {
		pairs = append(pairs, "GPU_I_PROFILE", instance.Profile, "GPU_I_ID", fmt.Sprint(instance.Number))
	}
	if (who != holder{}) {
		pairs = append(pairs, "namespace", who.namespace, "pod", who.pod, "container", who.container)
	}
	var text []string
	for pair := range slices.Chunk(pairs, 2) {
		text = append(text, fmt.Sprintf("%s=%q", pair[0], pair[1]))
	}
	return strings.Join(text, ",")
}

// holders asks the kubelet who holds which instance. Several may hold one that is shared.
func (e *Exporter) holders(ctx context.Context) (map[string][]holder, error) {
	connection, err := grpc.NewClient("unix:"+e.Pods, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return nil, err
	}
	defer connection.Close()
	bounded, done := context.WithTimeout(ctx, 5*time.Second)
	defer done()
	answer, err := podresources.NewPodResourcesListerClient(connection).List(bounded, &podresources.ListPodResourcesRequest{})
	if err != nil {
		return nil, fmt.Errorf("the kubelet does not say who holds what: %w", err)
	}
	found := map[string][]holder{}
	for _, pod := range answer.PodResources {
		for _, container := range pod.Containers {
			for _, devices := range container.Devices {
				if !strings.HasPrefix(devices.ResourceName, Domain) {
					continue
				}
				for _, id := range devices.DeviceIds {
					instance, _, _ := strings.Cut(id, "::")
					found[instance] = append(found[instance], holder{pod.Namespace, pod.Name, container.Name})
				}
			}
		}
	}
	return found, nil
}
