// Enforces the NetworkPolicies of the pods of one node, in the network namespace that it runs in. What a policy means is
// decided by the packages of kube-network-policies, the reference engine; how packets come to it depends on the kernel:
// by that project's own data plane where nftables can queue packets, else by the one in plane.go.
package main

import (
	"context"
	"errors"
	"flag"
	"net/http"
	"net/netip"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"
	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/klog/v2"
	"sigs.k8s.io/kube-network-policies/pkg/api"
	"sigs.k8s.io/kube-network-policies/pkg/dataplane"
	"sigs.k8s.io/kube-network-policies/pkg/networkpolicy"
	"sigs.k8s.io/kube-network-policies/pkg/podinfo"
)

var (
	node       = flag.String("node", "", "the name of this node")
	table      = flag.String("table", "mlops-platform", "the name of the table in nftables, which is this program's own")
	queue      = flag.Int("queue", 100, "the number of the queue, which nobody else uses in this network namespace")
	podNetwork = flag.String("pod-network", "", "the network that the addresses of all pods of the cluster are of")
	listen     = flag.String("listen", "127.0.0.1:9080", "where /readyz, /livez and /metrics answer")
	kubeconfig = flag.String("kubeconfig", "", "a kubeconfig, where the program is no pod")
	plain      = flag.Bool("xtables", false, "do not use the queue of nftables, even where the kernel has it")
)

// A plane brings the first packet of each connection of a pod before the engine until the context ends.
type plane interface{ Run(context.Context) error }

func main() {
	klog.InitFlags(nil)
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	if err := run(ctx); err != nil && !errors.Is(err, context.Canceled) {
		klog.ErrorS(err, "Policies are not enforced")
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	network, err := netip.ParsePrefix(*podNetwork)
	if err != nil {
		return err
	}
	config, err := rest.InClusterConfig()
	if *kubeconfig != "" {
		config, err = clientcmd.BuildConfigFromFlags("", *kubeconfig)
	}
	if err != nil {
		return err
	}
	config.ContentType = "application/vnd.kubernetes.protobuf"
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return err
	}
	engine, pods, err := watch(ctx, client)
	if err != nil {
		return err
	}
	rules := rules{table: *table, network: network.Masked(), queue: uint16(*queue)}
	chosen, family, err := choose(engine, pods, rules)
	if err != nil {
		return err
	}
	ready := func() error {
		if !engine.Ready() {
			return errors.New("the policies are not known yet")
		}
		return enforced(*table, family, *queue)
	}
	failed := make(chan error, 2)
	go func() { failed <- serve(ready) }()
	go func() { failed <- chosen.Run(ctx) }()
	return <-failed
}

// choose returns the data plane that the kernel has what is needed for, and the family of its table.
func choose(engine *networkpolicy.PolicyEngine, pods api.PodInfoProvider, rules rules) (plane, byte, error) {
	if !*plain && rules.supported(rules.native()) {
		klog.InfoS("Packets come by the queue of nftables")
		config := dataplane.Config{QueueID: *queue, NFTableName: *table, NetfilterBug1766Fix: true, StrictMode: true}
		chosen, err := dataplane.NewController(engine, config)
		return chosen, familyInet, err
	}
	if rules.supported(rules.xtables()) {
		klog.InfoS("Packets come by the queue of xtables: this kernel has none in nftables")
		return &queued{engine: engine, pods: pods, rules: rules}, rules.family(), nil
	}
	return nil, 0, errors.New("this kernel can queue packets neither by nftables (CONFIG_NFT_QUEUE) nor by xtables " +
		"(CONFIG_NFT_COMPAT and CONFIG_NETFILTER_XT_TARGET_NFQUEUE)")
}

// watch follows pods, namespaces and policies, and returns what decides by them and what knows pods by their addresses.
func watch(ctx context.Context, client kubernetes.Interface) (*networkpolicy.PolicyEngine, api.PodInfoProvider, error) {
	factory := informers.NewSharedInformerFactory(client, 0)
	pods, spaces := factory.Core().V1().Pods(), factory.Core().V1().Namespaces()
	if err := pods.Informer().SetTransform(shorten); err != nil {
		return nil, nil, err
	}
	byAddress, err := podinfo.NewInformerResolver(pods.Informer())
	if err != nil {
		return nil, nil, err
	}
	known := podinfo.NewInformerProvider(pods, spaces, nil, []podinfo.IPResolver{byAddress})
	policies := networkpolicy.NewStandardNetworkPolicy(*node, spaces, pods, factory.Networking().V1().NetworkPolicies())
	factory.Start(ctx.Done())
	return networkpolicy.NewPolicyEngine(known, []api.PolicyEvaluator{policies}), known, nil
}

// shorten leaves of a pod what policies speak of. One that has ended has no address any more: another may have it.
func shorten(object any) (any, error) {
	pod, ok := object.(*v1.Pod)
	if !ok {
		return object, nil
	}
	short := &v1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: pod.Name, Namespace: pod.Namespace, UID: pod.UID, Labels: pod.Labels,
			ResourceVersion: pod.ResourceVersion},
		Spec:   v1.PodSpec{NodeName: pod.Spec.NodeName, HostNetwork: pod.Spec.HostNetwork},
		Status: v1.PodStatus{Phase: pod.Status.Phase, PodIP: pod.Status.PodIP, PodIPs: pod.Status.PodIPs},
	}
	if pod.Status.Phase == v1.PodSucceeded || pod.Status.Phase == v1.PodFailed {
		short.Status.PodIP, short.Status.PodIPs = "", nil
	}
	for _, container := range append(pod.Spec.InitContainers, pod.Spec.Containers...) {
		if len(container.Ports) > 0 {
			short.Spec.Containers = append(short.Spec.Containers, v1.Container{Name: container.Name, Ports: container.Ports})
		}
	}
	return short, nil
}

// serve answers whether policies are enforced at the moment, which is looked up in the kernel each time.
func serve(ready func() error) error {
	http.Handle("/metrics", promhttp.Handler())
	http.HandleFunc("/livez", func(http.ResponseWriter, *http.Request) {})
	http.HandleFunc("/readyz", func(answer http.ResponseWriter, _ *http.Request) {
		if err := ready(); err != nil {
			http.Error(answer, err.Error(), http.StatusServiceUnavailable)
		}
	})
	server := http.Server{Addr: *listen, ReadHeaderTimeout: 5 * time.Second}
	return server.ListenAndServe()
}
