// cert-manager in one program: its first argument says whether it is the controller, the webhook or the cainjector.
// Built in are the issuers that need nobody outside the cluster, CA and SelfSigned; ACME, Vault and Venafi are not.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/cert-manager/cert-manager/pkg/logs"
	"github.com/cert-manager/cert-manager/pkg/util"
	"github.com/spf13/cobra"
)

func main() {
	logs.InitLogs()
	defer logs.FlushLogs()
	program := &cobra.Command{Use: "cert-manager", SilenceUsage: true, Version: util.AppVersion}
	program.AddCommand(controllerCommand(), webhookCommand(), cainjectorCommand())
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	if err := program.ExecuteContext(ctx); err != nil {
		logs.FlushLogs()
		os.Exit(1)
	}
}

// serve makes the command `name` out of `run`, which returns when its context ends.
func serve(name, purpose string, run func(context.Context) error) *cobra.Command {
	return &cobra.Command{
		Use:   name,
		Short: purpose,
		Args:  cobra.NoArgs,
		RunE: func(command *cobra.Command, _ []string) error {
			if err := run(command.Context()); err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
			return nil
		},
	}
}

// replica is the name by which this process holds a leader's lease.
func replica() string {
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	return fmt.Sprintf("%s_%d", host, os.Getpid())
}
