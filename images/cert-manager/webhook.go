package main

import (
	"context"

	internalwebhook "github.com/cert-manager/cert-manager/internal/webhook"
	"github.com/cert-manager/cert-manager/pkg/logs"
	"github.com/cert-manager/cert-manager/pkg/util/feature"
	"github.com/cert-manager/cert-manager/pkg/webhook/options"
	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/util/runtime"
	ctrl "sigs.k8s.io/controller-runtime"
)

func webhookCommand() *cobra.Command {
	settings, err := options.NewWebhookConfiguration()
	runtime.Must(err)
	command := serve("webhook", "Check and complete objects before they are stored", func(ctx context.Context) error {
		if err := logs.ValidateAndApply(&settings.Logging); err != nil {
			return err
		}
		if err := feature.DefaultMutableFeatureGate.SetFromMap(settings.FeatureGates); err != nil {
			return err
		}
		ctrl.SetLogger(logs.Log)
		ctx = logs.NewContext(ctx, logs.Log, "webhook")
		server, err := internalwebhook.NewCertManagerWebhookServer(logs.FromContext(ctx), *settings)
		if err != nil {
			return err
		}
		return server.Run(ctx)
	})
	options.AddConfigFlags(command.Flags(), settings)
	return command
}
