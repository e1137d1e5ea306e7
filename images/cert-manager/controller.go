package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/cert-manager/cert-manager/pkg/controller"
	_ "github.com/cert-manager/cert-manager/pkg/controller/certificaterequests/approver"
	_ "github.com/cert-manager/cert-manager/pkg/controller/certificaterequests/ca"
	_ "github.com/cert-manager/cert-manager/pkg/controller/certificaterequests/selfsigned"
	_ "github.com/cert-manager/cert-manager/pkg/controller/certificates/issuing"
	_ "github.com/cert-manager/cert-manager/pkg/controller/certificates/keymanager"
	_ "github.com/cert-manager/cert-manager/pkg/controller/certificates/readiness"
	_ "github.com/cert-manager/cert-manager/pkg/controller/certificates/requestmanager"
	_ "github.com/cert-manager/cert-manager/pkg/controller/certificates/revisionmanager"
	_ "github.com/cert-manager/cert-manager/pkg/controller/certificates/trigger"
	_ "github.com/cert-manager/cert-manager/pkg/controller/clusterissuers"
	_ "github.com/cert-manager/cert-manager/pkg/controller/issuers"
	"github.com/cert-manager/cert-manager/pkg/healthz"
	_ "github.com/cert-manager/cert-manager/pkg/issuer/ca"
	_ "github.com/cert-manager/cert-manager/pkg/issuer/selfsigned"
	"github.com/cert-manager/cert-manager/pkg/logs"
	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"
	"k8s.io/client-go/tools/leaderelection"
	"k8s.io/client-go/tools/leaderelection/resourcelock"
	logsapi "k8s.io/component-base/logs/api/v1"
)

// workers is how many objects of a kind are worked on at once.
const workers = 5

// A leader that cannot renew its lease for `leaseDuration` is followed by another.
const (
	leaseDuration = 60 * time.Second
	renewDeadline = 40 * time.Second
	retryPeriod   = 15 * time.Second
)

type controllerOptions struct {
	controller.ContextOptions
	health, metrics string
	elect           bool
	electNamespace  string
	logging         *logsapi.LoggingConfiguration
}

func controllerCommand() *cobra.Command {
	options := controllerOptions{logging: logsapi.NewLoggingConfiguration()}
	command := serve("controller", "Issue and renew certificates", func(ctx context.Context) error {
		return options.run(ctx)
	})
	flags := command.Flags()
	flags.StringVar(&options.Kubeconfig, "kubeconfig", "", "file to reach the API server with; in a pod its ServiceAccount")
	flags.StringVar(&options.Namespace, "namespace", "", "the only namespace to work in; all if empty")
	flags.StringVar(&options.ClusterResourceNamespace, "cluster-resource-namespace", "kube-system",
		"namespace of the Secrets of ClusterIssuers")
	flags.BoolVar(&options.EnableOwnerRef, "enable-certificate-owner-ref", false,
		"delete a Secret with the Certificate that it was issued for")
	flags.StringSliceVar(&options.CopiedAnnotationPrefixes, "copied-annotation-prefixes",
		[]string{"*", "-kubectl.kubernetes.io/"}, "annotations that requests inherit from a Certificate")
	flags.DurationVar(&options.CertificateRequestMinimumBackoffDuration, "certificate-request-minimum-backoff-duration",
		time.Hour, "pause after a request's first failure")
	flags.DurationVar(&options.CertificateRequestMaximumBackoffDuration, "certificate-request-maximum-backoff-duration",
		32*time.Hour, "longest pause after further failures")
	flags.Float32Var(&options.KubernetesAPIQPS, "kube-api-qps", 20, "requests a second, where the API server does not ration them")
	flags.IntVar(&options.KubernetesAPIBurst, "kube-api-burst", 50, "requests at once, where the API server does not ration them")
	flags.StringVar(&options.health, "healthz-listen-address", ":9403", "address of /livez")
	flags.StringVar(&options.metrics, "metrics-listen-address", ":9402", "address of /metrics")
	flags.BoolVar(&options.elect, "leader-elect", true, "work only while holding the lease")
	flags.StringVar(&options.electNamespace, "leader-election-namespace", "kube-system", "namespace of the lease")
	logs.AddFlagsNonDeprecated(options.logging, flags)
	return command
}

func (o controllerOptions) run(ctx context.Context) error {
	if err := logs.ValidateAndApply(o.logging); err != nil {
		return err
	}
	// The first thing that fails ends everything else.
	group, ctx := errgroup.WithContext(logs.NewContext(ctx, logs.Log, "controller"))
	factory, err := controller.NewContextFactory(ctx, o.ContextOptions)
	if err != nil {
		return err
	}
	shared, err := factory.Build()
	if err != nil {
		return err
	}
	issuers := shared.SharedInformerFactory.Certmanager().V1()
	shared.Metrics.SetupCertificateCollector(issuers.Certificates().Lister())
	shared.Metrics.SetupIssuerCollector(issuers.Issuers().Lister())
	if o.Namespace == "" {
		shared.Metrics.SetupClusterIssuerCollector(issuers.ClusterIssuers().Lister())
	}
	metrics, err := net.Listen("tcp", o.metrics)
	if err != nil {
		return err
	}
	group.Go(func() error { return serveHTTP(ctx, shared.Metrics.NewServer(metrics), metrics) })
	health, err := net.Listen("tcp", o.health)
	if err != nil {
		return err
	}
	// Dead is also a leader that has not renewed its lease 20 s after it should have.
	healthServer := healthz.NewServer(20 * time.Second)
	group.Go(func() error { return healthServer.Start(ctx, health) })
	group.Go(func() error {
		control := func(ctx context.Context) error { return o.control(ctx, factory, shared) }
		if !o.elect {
			return control(ctx)
		}
		return o.lead(ctx, shared, healthServer.LeaderHealthzAdaptor, control)
	})
	return group.Wait()
}

// lead does `work` while this process holds the lease, and gives it back when the work has ended.
func (o controllerOptions) lead(
	ctx context.Context, shared *controller.Context, watchdog *leaderelection.HealthzAdaptor,
	work func(context.Context) error,
) error {
	lock, err := resourcelock.NewFromKubeconfig(resourcelock.LeasesResourceLock, o.electNamespace,
		"cert-manager-controller", resourcelock.ResourceLockConfig{Identity: replica(), EventRecorder: shared.Recorder},
		shared.RESTConfig, renewDeadline)
	if err != nil {
		return err
	}
	leading, ended := make(chan struct{}), make(chan struct{})
	elector, err := leaderelection.NewLeaderElector(leaderelection.LeaderElectionConfig{
		Lock:            lock,
		LeaseDuration:   leaseDuration,
		RenewDeadline:   renewDeadline,
		RetryPeriod:     retryPeriod,
		ReleaseOnCancel: true,
		WatchDog:        watchdog,
		Callbacks: leaderelection.LeaderCallbacks{
			OnStartedLeading: func(context.Context) { close(leading) },
			OnStoppedLeading: func() {},
		},
	})
	if err != nil {
		return err
	}
	electing, giveBack := context.WithCancel(context.WithoutCancel(ctx))
	go func() {
		elector.Run(electing)
		close(ended)
	}()
	defer func() {
		giveBack()
		<-ended
	}()
	select {
	case <-leading:
	case <-ctx.Done():
		return nil
	}
	working, stop := context.WithCancel(ctx)
	defer stop()
	go func() {
		<-ended
		stop()
	}()
	if err := work(working); err != nil {
		return err
	}
	if ctx.Err() == nil {
		return errors.New("the lease is lost: another replica leads now")
	}
	return nil
}

// control runs every controller that is compiled in until the context ends.
func (o controllerOptions) control(ctx context.Context, factory *controller.ContextFactory, shared *controller.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	for name, construct := range controller.Known() {
		if name == "clusterissuers" && o.Namespace != "" {
			continue
		}
		found, err := construct(factory)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		group.Go(func() error {
			if err := found.Run(workers, ctx); err != nil && ctx.Err() == nil {
				return fmt.Errorf("%s: %w", name, err)
			}
			return nil
		})
	}
	shared.SharedInformerFactory.Start(ctx.Done())
	shared.KubeSharedInformerFactory.Start(ctx.Done())
	return group.Wait()
}

func serveHTTP(ctx context.Context, server *http.Server, listener net.Listener) error {
	stop := context.AfterFunc(ctx, func() { _ = server.Close() })
	defer stop()
	if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}
