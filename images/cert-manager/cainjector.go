package main

import (
	"context"

	"github.com/cert-manager/cert-manager/internal/kube"
	certmanager "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"
	"github.com/cert-manager/cert-manager/pkg/controller/cainjector"
	"github.com/cert-manager/cert-manager/pkg/logs"
	"github.com/cert-manager/cert-manager/pkg/util"
	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"
	apiextensions "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/scheme"
	logsapi "k8s.io/component-base/logs/api/v1"
	apiregistration "k8s.io/kube-aggregator/pkg/apis/apiregistration/v1"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/healthz"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"
)

type cainjectorOptions struct {
	kubeconfig, namespace, health, metrics string
	elect                                  bool
	electNamespace                         string
	logging                                *logsapi.LoggingConfiguration
}

func cainjectorCommand() *cobra.Command {
	options := cainjectorOptions{logging: logsapi.NewLoggingConfiguration()}
	command := serve("cainjector", "Write certificate authorities into webhooks and definitions", func(ctx context.Context) error {
		return options.run(ctx)
	})
	flags := command.Flags()
	flags.StringVar(&options.kubeconfig, "kubeconfig", "", "file to reach the API server with; in a pod its ServiceAccount")
	flags.StringVar(&options.namespace, "namespace", "", "the only namespace to read Certificates from; all if empty")
	flags.StringVar(&options.health, "healthz-listen-address", ":9403", "address of /healthz and /readyz")
	flags.StringVar(&options.metrics, "metrics-listen-address", ":9402", "address of /metrics; 0 for none")
	flags.BoolVar(&options.elect, "leader-elect", true, "work only while holding the lease")
	flags.StringVar(&options.electNamespace, "leader-election-namespace", "kube-system", "namespace of the lease")
	logs.AddFlagsNonDeprecated(options.logging, flags)
	return command
}

func (o cainjectorOptions) run(ctx context.Context) error {
	if err := logs.ValidateAndApply(o.logging); err != nil {
		return err
	}
	ctrl.SetLogger(logs.Log)
	ctx = logs.NewContext(ctx, logs.Log, "cainjector")
	kinds := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{
		scheme.AddToScheme, certmanager.AddToScheme, apiextensions.AddToScheme, apiregistration.AddToScheme,
	} {
		if err := add(kinds); err != nil {
			return err
		}
	}
	config, err := kube.BuildClientConfig("", o.kubeconfig)
	if err != nil {
		return err
	}
	// Of Secrets only the metadata is watched, so they are read when they are needed.
	secrets := []client.Object{&corev1.Secret{}}
	settings := ctrl.Options{
		Scheme:                        kinds,
		LeaderElection:                o.elect,
		LeaderElectionID:              "cert-manager-cainjector-leader-election",
		LeaderElectionNamespace:       o.electNamespace,
		LeaderElectionReleaseOnCancel: true,
		LeaseDuration:                 new(leaseDuration),
		RenewDeadline:                 new(renewDeadline),
		RetryPeriod:                   new(retryPeriod),
		HealthProbeBindAddress:        o.health,
		Metrics:                       metricsserver.Options{BindAddress: o.metrics},
		Client:                        client.Options{Cache: &client.CacheOptions{DisableFor: secrets}},
		Cache:                         cache.Options{ReaderFailOnMissingInformer: true},
	}
	if o.namespace != "" {
		settings.Cache.DefaultNamespaces = map[string]cache.Config{o.namespace: {}}
	}
	// The field manager of what is written is made from this name.
	manager, err := ctrl.NewManager(util.RestConfigWithUserAgent(config, "cainjector"), settings)
	if err != nil {
		return err
	}
	if err := manager.AddHealthzCheck("ping", healthz.Ping); err != nil {
		return err
	}
	if err := manager.AddReadyzCheck("ping", healthz.Ping); err != nil {
		return err
	}
	if err := cainjector.RegisterAllInjectors(ctx, manager, cainjector.SetupOptions{
		Namespace:                    o.namespace,
		EnableCertificatesDataSource: true,
		EnabledReconcilersFor: map[string]bool{
			cainjector.MutatingWebhookConfigurationName:   true,
			cainjector.ValidatingWebhookConfigurationName: true,
			cainjector.CustomResourceDefinitionName:       true,
			cainjector.APIServiceName:                     true,
		},
	}); err != nil {
		return err
	}
	return manager.Start(ctx)
}
