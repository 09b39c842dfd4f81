package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	_ "embed"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"syscall"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
)

//go:embed stages.yaml
var stages []byte

const (
	// Service addresses are on this machine's loopback: the API server calls a webhook's Service by its
	// address, which finds a test that listens there, or nobody, at once, and never leaves the machine.
	serviceRange      = "127.96.0.0/16"
	apiServiceAddress = "127.96.0.1"
	// Pod addresses may not be loopback (EndpointSlices refuse them) and are only ever recorded.
	podRange = "198.18.0.0/16"
	// What the API server gives as its own address behind the Service `kubernetes`; recorded as well.
	advertised = "198.19.0.1"
)

var nodes = []string{"node-1", "node-2", "node-3"}

// plane is one control plane: its parts in the order in which they start.
type plane struct {
	dir         string
	server      string
	credentials *credentials
	parts       []*part
	probe       *http.Client
}

func (p *plane) part(name string) (*part, error) {
	for _, part := range p.parts {
		if part.name == name {
			return part, nil
		}
	}
	return nil, fmt.Errorf("no part %q; there are etcd, apiserver, controller-manager, scheduler, kwok", name)
}

// newPlane writes everything the parts need into dir and chooses their ports; it starts nothing.
func newPlane(dir string) (*plane, error) {
	exe, err := os.Executable()
	if err != nil {
		return nil, err
	}
	credentials, err := newCredentials(filepath.Join(dir, "pki"))
	if err != nil {
		return nil, err
	}
	ports, err := freePorts(3)
	if err != nil {
		return nil, err
	}
	etcd, peer, api := local("http", ports[0]), local("http", ports[1]), local("https", ports[2])
	kubeconfig := filepath.Join(dir, "kubeconfig")
	if err := credentials.writeKubeconfig(kubeconfig, api, "admin", credentials.adminToken); err != nil {
		return nil, err
	}
	limited := filepath.Join(dir, "limited.kubeconfig")
	if err := credentials.writeKubeconfig(limited, api, "limited", credentials.limitedToken); err != nil {
		return nil, err
	}
	stagesFile := filepath.Join(dir, "stages.yaml")
	if err := os.WriteFile(stagesFile, stages, 0o600); err != nil {
		return nil, err
	}
	authorities := x509.NewCertPool()
	authorities.AppendCertsFromPEM(credentials.ca)
	p := &plane{
		dir: dir, server: api, credentials: credentials,
		probe: &http.Client{
			Timeout: 2 * time.Second,
			Transport: &http.Transport{
				DisableKeepAlives: true,
				TLSClientConfig:   &tls.Config{RootCAs: authorities},
			},
		},
	}
	add := func(name, role string, args ...string) {
		p.parts = append(p.parts, &part{
			name: name, args: append([]string{role}, args...), exe: exe,
			log: filepath.Join(dir, name+".log"),
			// KWOK reads a kwok.yaml of the user's home otherwise.
			env: []string{"KWOK_WORKDIR=" + filepath.Join(dir, "kwok"), "HOME=" + dir},
		})
	}
	add("etcd", "etcd",
		"--name=test", "--data-dir="+filepath.Join(dir, "etcd"),
		"--listen-client-urls="+etcd, "--advertise-client-urls="+etcd,
		"--listen-peer-urls="+peer, "--initial-advertise-peer-urls="+peer,
		"--initial-cluster=test="+peer, "--unsafe-no-fsync", "--log-level=warn")
	add("apiserver", "kube-apiserver",
		"--etcd-servers="+etcd,
		"--bind-address=127.0.0.1", fmt.Sprintf("--secure-port=%d", ports[2]),
		"--advertise-address="+advertised, "--external-hostname=127.0.0.1",
		"--tls-cert-file="+credentials.file("apiserver.crt"),
		"--tls-private-key-file="+credentials.file("apiserver.key"),
		"--client-ca-file="+credentials.file("ca.crt"),
		"--token-auth-file="+credentials.file("tokens.csv"),
		"--service-account-key-file="+credentials.file("service-account.key"),
		"--service-account-signing-key-file="+credentials.file("service-account.key"),
		"--service-account-issuer=https://kubernetes.default.svc",
		"--authorization-mode=Node,RBAC",
		"--service-cluster-ip-range="+serviceRange,
		"--allow-privileged=true",
		// Without these two, an orderly end waits a minute for watches that nobody closes.
		"--shutdown-send-retry-after=true", "--shutdown-watch-termination-grace-period=1s",
		// It taints each new node until the node lifecycle controller, which is switched off, takes that away.
		"--disable-admission-plugins=TaintNodesByCondition")
	add("controller-manager", "kube-controller-manager",
		"--kubeconfig="+kubeconfig, "--leader-elect=false", "--secure-port=0",
		// KWOK's heartbeat is slower than the node lifecycle controller is patient.
		"--controllers=*,-node-ipam-controller,-node-lifecycle-controller",
		"--service-account-private-key-file="+credentials.file("service-account.key"),
		"--root-ca-file="+credentials.file("ca.crt"),
		"--cluster-signing-cert-file="+credentials.file("ca.crt"),
		"--cluster-signing-key-file="+credentials.file("ca.key"),
		"--kube-api-qps=500", "--kube-api-burst=1000")
	add("scheduler", "kube-scheduler",
		"--kubeconfig="+kubeconfig, "--leader-elect=false", "--secure-port=0",
		"--kube-api-qps=500", "--kube-api-burst=1000")
	add("kwok", "kwok",
		"--kubeconfig="+kubeconfig, "--config="+stagesFile, "--manage-all-nodes",
		"--cidr="+podRange, "--node-ip=127.0.0.1", "--node-lease-duration-seconds=0")
	return p, nil
}

// start returns when pods can be scheduled and become ready.
func (p *plane) start(ctx context.Context) error {
	for _, part := range p.parts[:2] {
		if err := part.start(); err != nil {
			return err
		}
	}
	if err := p.waitReady(ctx); err != nil {
		return err
	}
	for _, part := range p.parts[2:] {
		if err := part.start(); err != nil {
			return err
		}
	}
	client, err := kubernetes.NewForConfig(&rest.Config{
		Host: p.server, BearerToken: p.credentials.adminToken,
		TLSClientConfig: rest.TLSClientConfig{CAData: p.credentials.ca},
	})
	if err != nil {
		return err
	}
	if err := addNodes(ctx, client); err != nil {
		return err
	}
	return p.wait(ctx, "three ready nodes and the default service account", func() error {
		return usable(ctx, client)
	})
}

func addNodes(ctx context.Context, client kubernetes.Interface) error {
	for i, name := range nodes {
		node := &corev1.Node{ObjectMeta: metav1.ObjectMeta{
			Name: name,
			Labels: map[string]string{
				corev1.LabelHostname:           name,
				corev1.LabelOSStable:           "linux",
				corev1.LabelArchStable:         "amd64",
				corev1.LabelTopologyRegion:     "test",
				corev1.LabelTopologyZone:       fmt.Sprintf("test-%d", i+1),
				"node-role.kubernetes.io/node": "",
			},
		}}
		if _, err := client.CoreV1().Nodes().Create(ctx, node, metav1.CreateOptions{}); err != nil {
			return fmt.Errorf("adding node %s: %w", name, err)
		}
	}
	return nil
}

func usable(ctx context.Context, client kubernetes.Interface) error {
	// Pods are refused in a namespace that has no service account yet.
	_, err := client.CoreV1().ServiceAccounts("default").Get(ctx, "default", metav1.GetOptions{})
	if err != nil {
		return err
	}
	list, err := client.CoreV1().Nodes().List(ctx, metav1.ListOptions{})
	if err != nil {
		return err
	}
	ready := 0
	for _, node := range list.Items {
		for _, condition := range node.Status.Conditions {
			if condition.Type == corev1.NodeReady && condition.Status == corev1.ConditionTrue {
				ready++
			}
		}
	}
	if ready < len(nodes) {
		return fmt.Errorf("%d of %d nodes are ready", ready, len(nodes))
	}
	return nil
}

func (p *plane) waitReady(ctx context.Context) error {
	return p.wait(ctx, "the API server", func() error { return p.ready(ctx) })
}

// ready asks for an object as well, which is read from etcd: /readyz remembers for a while that etcd was well.
func (p *plane) ready(ctx context.Context) error {
	if err := p.get(ctx, "/readyz"); err != nil {
		return err
	}
	return p.get(ctx, "/api/v1/namespaces/kube-system")
}

func (p *plane) get(ctx context.Context, path string) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, p.server+path, nil)
	if err != nil {
		return err
	}
	request.Header.Set("Authorization", "Bearer "+p.credentials.adminToken)
	response, err := p.probe.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("%s answers %s", path, response.Status)
	}
	return nil
}

// wait polls until check succeeds, a part that should run has ended, or a minute is over.
func (p *plane) wait(ctx context.Context, what string, check func() error) error {
	deadline := time.Now().Add(time.Minute)
	for {
		err := check()
		if err == nil {
			return nil
		}
		if dead := p.dead(); dead != nil {
			return fmt.Errorf("waiting for %s: %s", what, dead.lastWords())
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("waiting for %s: %w", what, err)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// dead is a part that ended although nobody asked for it.
func (p *plane) dead() *part {
	for _, part := range p.parts {
		part.mu.Lock()
		dead := part.wanted && !part.alive()
		part.mu.Unlock()
		if dead {
			return part
		}
	}
	return nil
}

// restart starts a stopped part; on its old port, which something else may hold for a moment.
func (p *plane) restart(ctx context.Context, part *part) error {
	var err error
	for range 5 {
		if err = part.start(); err != nil {
			return err
		}
		if err = p.waitReady(ctx); err == nil || part.running() || ctx.Err() != nil {
			return err
		}
		time.Sleep(time.Second)
	}
	return err
}

// stop ends all parts at once: what they hold is thrown away with the folder.
func (p *plane) stop(patience time.Duration) {
	done := make(chan struct{})
	for _, part := range p.parts {
		go func() {
			_ = part.stop(syscall.SIGTERM, patience)
			done <- struct{}{}
		}()
	}
	for range p.parts {
		<-done
	}
}

func (p *plane) pids() map[string]int {
	pids := map[string]int{}
	for _, part := range p.parts {
		pids[part.name] = part.pid()
	}
	return pids
}

func local(scheme string, port int) string { return fmt.Sprintf("%s://127.0.0.1:%d", scheme, port) }

// freePorts finds them all before it lets any of them go.
func freePorts(count int) ([]int, error) {
	var ports []int
	for range count {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		defer listener.Close()
		ports = append(ports, listener.Addr().(*net.TCPAddr).Port)
	}
	return ports, nil
}
