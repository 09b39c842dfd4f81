// Command cluster is a Kubernetes control plane for tests in one program: it is etcd, the API server, the
// controller manager, the scheduler, KWOK (nodes and pods that only report a status), kubectl or helm,
// depending on its first argument or on the name it is called by, and `cluster run` starts them together.
//
// One program rather than seven because they share nearly all of what has to be compiled.
package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/spf13/pflag"
	"go.etcd.io/etcd/server/v3/etcdmain"
	helm "helm.sh/helm/v4/pkg/cmd"
	"k8s.io/component-base/cli"
	_ "k8s.io/component-base/metrics/prometheus/clientgo"
	_ "k8s.io/component-base/metrics/prometheus/version"
	kubectl "k8s.io/kubectl/pkg/cmd"
	apiserver "k8s.io/kubernetes/cmd/kube-apiserver/app"
	controllermanager "k8s.io/kubernetes/cmd/kube-controller-manager/app"
	scheduler "k8s.io/kubernetes/cmd/kube-scheduler/app"
	kwokconfig "sigs.k8s.io/kwok/pkg/config"
	kwok "sigs.k8s.io/kwok/pkg/kwok/cmd"
	kwoklog "sigs.k8s.io/kwok/pkg/log"
	"sigs.k8s.io/kwok/pkg/utils/signals"
)

// roles are the programs this one can be. Each finds its arguments in os.Args, as if it had been started
// under its own name, and returns its exit code.
var roles = map[string]func() int{
	"run":                     runSupervisor,
	"etcd":                    func() int { etcdmain.Main(os.Args); return 0 },
	"kube-apiserver":          func() int { return cli.Run(apiserver.NewAPIServerCommand()) },
	"kube-controller-manager": func() int { return cli.Run(controllermanager.NewControllerManagerCommand()) },
	"kube-scheduler":          func() int { return cli.Run(scheduler.NewSchedulerCommand()) },
	"kubectl":                 func() int { return cli.Run(kubectl.NewDefaultKubectlCommand()) },
	"helm":                    runHelm,
	"kwok":                    runKwok,
}

func main() {
	role := filepath.Base(os.Args[0])
	run, known := roles[role]
	if !known && len(os.Args) > 1 {
		// Called as `cluster ROLE ...`: drop our own name, so the role sees itself as the program.
		role = os.Args[1]
		if run, known = roles[role]; known {
			os.Args = os.Args[1:]
		}
	}
	if !known {
		fmt.Fprintln(os.Stderr, "usage: cluster run --dir DIR, or cluster PART ARGUMENTS... with PART one of:")
		fmt.Fprintln(os.Stderr, "  etcd, kube-apiserver, kube-controller-manager, kube-scheduler, kwok, kubectl, helm")
		os.Exit(2)
	}
	os.Exit(run())
}

func runHelm() int {
	root, err := helm.NewRootCmd(os.Stdout, os.Args[1:], helm.SetupLogging)
	if err != nil {
		fmt.Fprintln(os.Stderr, "Error:", err)
		return 1
	}
	if err := root.Execute(); err != nil {
		var failed helm.CommandError
		if errors.As(err, &failed) {
			return failed.ExitCode
		}
		return 1
	}
	return 0
}

func runKwok() int {
	// Kubernetes' component-base has put a `--version` flag of its own kind into pflag's global set; KWOK
	// takes that set over and stops at "trying to get bool value of flag of type version".
	pflag.CommandLine = pflag.NewFlagSet(os.Args[0], pflag.ContinueOnError)
	global := pflag.NewFlagSet("global", pflag.ContinueOnError)
	global.ParseErrorsAllowlist.UnknownFlags = true
	global.Usage = func() {}
	ctx, _ := kwoklog.InitFlags(signals.SetupSignalContext(), global)
	// Reads the stages that --config names; the command itself finds them in the context.
	ctx, err := kwokconfig.InitFlags(ctx, global)
	if err == nil {
		command := kwok.NewCommand(ctx)
		command.PersistentFlags().AddFlagSet(global)
		err = command.ExecuteContext(ctx)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "kwok:", err)
		return 1
	}
	return 0
}
