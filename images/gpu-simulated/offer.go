package main

import (
	"crypto/sha256"
	"fmt"
	"slices"
	"strings"
)

// Domain is what the names of all resources begin with.
const Domain = "nvidia.com/"

// Config is as much of the configuration of NVIDIA's device plugin as decides which resources a node has
// (https://github.com/NVIDIA/k8s-device-plugin, "As a configuration file").
type Config struct {
	Flags struct {
		MigStrategy string `json:"migStrategy"`
	} `json:"flags"`
	Sharing struct {
		TimeSlicing struct {
			RenameByDefault            bool `json:"renameByDefault"`
			FailRequestsGreaterThanOne bool `json:"failRequestsGreaterThanOne"`
			Resources                  []struct {
				Name     string `json:"name"`
				Replicas int    `json:"replicas"`
			} `json:"resources"`
		} `json:"timeSlicing"`
	} `json:"sharing"`
}

// Devices are what a node has: `Count` equal GPUs, each divided into `MigProfiles`, how many by the profile's name.
// `HeldPercent` is how much of a GPU computes while a pod holds it.
type Devices struct {
	Product     string         `json:"product"`
	Count       int            `json:"count"`
	MemoryMiB   int            `json:"memoryMib"`
	MigProfiles map[string]int `json:"migProfiles"`
	HeldPercent int            `json:"heldPercent"`
}

// Resource is one name under which the kubelet offers devices. Shared ones have several IDs a device, `<device>::<n>`.
type Resource struct {
	Name   string
	IDs    []string
	Single bool
}

// Instance is what a container gets: a whole GPU, or a part of one.
type Instance struct {
	UUID    string
	GPU     int
	Profile string
	Number  int
}

// Offer says which resources a node has, as NVIDIA's device plugin would make them of real devices.
func Offer(node string, settings Config, devices Devices) ([]Resource, error) {
	devicesOf := map[string][]string{}
	var names []string
	for _, instance := range Instances(node, settings, devices) {
		name := Domain + "gpu"
		if instance.Profile != "" && settings.Flags.MigStrategy == "mixed" {
			name = Domain + "mig-" + strings.ReplaceAll(instance.Profile, "+", ".")
		}
		if !slices.Contains(names, name) {
			names = append(names, name)
		}
		devicesOf[name] = append(devicesOf[name], instance.UUID)
	}
	if strategy := settings.Flags.MigStrategy; strategy == "single" && len(devices.MigProfiles) > 1 {
		return nil, fmt.Errorf("migStrategy is %s: all GPUs must have one and the same profile", strategy)
	}
	slicing := settings.Sharing.TimeSlicing
	var found []Resource
	for _, name := range names {
		resource := Resource{Name: name, IDs: devicesOf[name]}
		for _, shared := range slicing.Resources {
			if shared.Name != name || shared.Replicas < 2 {
				continue
			}
			resource.IDs = nil
			for _, device := range devicesOf[name] {
				for number := range shared.Replicas {
					resource.IDs = append(resource.IDs, fmt.Sprintf("%s::%d", device, number))
				}
			}
			resource.Single = slicing.FailRequestsGreaterThanOne
			if slicing.RenameByDefault {
				resource.Name += ".shared"
			}
		}
		found = append(found, resource)
	}
	return found, nil
}

// Instances are what can be handed out, GPU by GPU; their names are the same at every start.
func Instances(node string, settings Config, devices Devices) []Instance {
	var profiles []string
	for profile := range devices.MigProfiles {
		profiles = append(profiles, profile)
	}
	slices.Sort(profiles)
	var found []Instance
	for gpu := range devices.Count {
		if settings.Flags.MigStrategy == "" || settings.Flags.MigStrategy == "none" || len(profiles) == 0 {
			found = append(found, Instance{UUID: "GPU-" + uuid(node, gpu, "", 0), GPU: gpu})
			continue
		}
		number := 0
		for _, profile := range profiles {
			for range devices.MigProfiles[profile] {
				found = append(found, Instance{"MIG-" + uuid(node, gpu, profile, number), gpu, profile, number})
				number++
			}
		}
	}
	return found
}

func uuid(node string, gpu int, profile string, number int) string {
	sum := sha256.Sum256(fmt.Appendf(nil, "%s/%d/%s/%d", node, gpu, profile, number))
	return fmt.Sprintf("%x-%x-%x-%x-%x", sum[:4], sum[4:6], sum[6:8], sum[8:10], sum[10:16])
}
