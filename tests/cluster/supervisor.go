package main

import (
	"bufio"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"
)

// patience is how long a part may take to heed SIGTERM at the end of the run; a test that asks for SIGTERM
// wants to see an orderly end and waits longer.
const (
	patience       = 3 * time.Second
	orderlyTimeout = 30 * time.Second
)

// command is what a test writes, one JSON object a line.
type command struct {
	Do     string `json:"do"`     // stop, start, signal or ready
	Part   string `json:"part"`   // for all but ready
	Signal string `json:"signal"` // KILL or TERM for stop (KILL if empty); any of `signals` for signal
}

// answer is what it gets, one JSON object a line; the first comes unasked, when everything is up.
type answer struct {
	Ok         bool           `json:"ok"`
	Error      string         `json:"error,omitempty"`
	Pids       map[string]int `json:"pids,omitempty"` // 0: does not run
	TookMillis int64          `json:"took_ms"`

	*facts
}

type facts struct {
	Kubeconfig        string `json:"kubeconfig"`
	LimitedKubeconfig string `json:"limited_kubeconfig"`
	Server            string `json:"server"`
	CAFile            string `json:"ca_file"`
	Token             string `json:"token"`
}

var signalNames = map[string]syscall.Signal{
	"TERM": syscall.SIGTERM, "KILL": syscall.SIGKILL, "STOP": syscall.SIGSTOP, "CONT": syscall.SIGCONT,
}

// runSupervisor is `cluster run`: it starts a control plane, tells where it is, carries out commands from
// its standard input, and takes everything down when that closes, which it does too when the test that
// started it dies.
func runSupervisor() int {
	flags := flag.NewFlagSet("cluster run", flag.ContinueOnError)
	dir := flags.String("dir", "", "folder for all state, made if need be; nobody else may use it")
	lock := flags.String("lock", "", "file whose lock is held while the control plane runs: at most one for all who name it")
	remove := flags.Bool("remove", false, "remove the folder at the end, for the case that the test is no longer there to do it")
	if err := flags.Parse(os.Args[1:]); err != nil {
		return 2
	}
	if *dir == "" {
		fmt.Fprintln(os.Stderr, "cluster run: --dir DIR is missing")
		return 2
	}
	ctx, cancel := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP)
	defer cancel()
	commands := readCommands(cancel)
	if *remove {
		defer os.RemoveAll(*dir)
	}
	if err := supervise(ctx, *dir, *lock, commands); err != nil && ctx.Err() == nil {
		say(answer{Error: err.Error()})
		return 1
	}
	return 0
}

// readCommands ends the run when nobody is left to give commands.
func readCommands(end context.CancelFunc) <-chan string {
	lines := make(chan string)
	go func() {
		scanner := bufio.NewScanner(os.Stdin)
		for scanner.Scan() {
			lines <- scanner.Text()
		}
		fmt.Fprintln(os.Stderr, "cluster: standard input is closed: the control plane ends")
		end()
	}()
	return lines
}

func supervise(ctx context.Context, dir, lock string, commands <-chan string) error {
	if lock != "" {
		release, err := holdLock(ctx, lock)
		if err != nil {
			return err
		}
		defer release()
	}
	dir, err := filepath.Abs(dir)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	began := time.Now()
	plane, err := startPlane(ctx, dir)
	if err != nil {
		return err
	}
	defer plane.stop(patience)
	say(answer{
		Ok: true, Pids: plane.pids(), TookMillis: time.Since(began).Milliseconds(),
		facts: &facts{
			Kubeconfig:        filepath.Join(dir, "kubeconfig"),
			LimitedKubeconfig: filepath.Join(dir, "limited.kubeconfig"),
			Server:            plane.server,
			CAFile:            plane.credentials.file("ca.crt"),
			Token:             plane.credentials.adminToken,
		},
	})
	for {
		select {
		case <-ctx.Done():
			return nil
		case line := <-commands:
			began := time.Now()
			err := plane.carryOut(ctx, line)
			reply := answer{Ok: err == nil, Pids: plane.pids(), TookMillis: time.Since(began).Milliseconds()}
			if err != nil {
				reply.Error = err.Error()
			}
			say(reply)
		}
	}
}

// startPlane tries again with other ports: between finding a free port and a part's use of it, something
// else on the machine may have taken it.
func startPlane(ctx context.Context, dir string) (*plane, error) {
	for attempt := 1; ; attempt++ {
		plane, err := newPlane(dir)
		if err != nil {
			return nil, err
		}
		if err = plane.start(ctx); err == nil {
			return plane, nil
		}
		plane.stop(0)
		if attempt == 3 || ctx.Err() != nil {
			return nil, err
		}
		fmt.Fprintf(os.Stderr, "cluster: attempt %d failed, trying again: %v\n", attempt, err)
		if err := os.RemoveAll(filepath.Join(dir, "etcd")); err != nil {
			return nil, err
		}
	}
}

func (p *plane) carryOut(ctx context.Context, line string) error {
	var command command
	if err := json.Unmarshal([]byte(line), &command); err != nil {
		return fmt.Errorf("not a command: %q: %w", line, err)
	}
	if command.Do == "ready" {
		if dead := p.dead(); dead != nil {
			return fmt.Errorf("a part has died: %s", dead.lastWords())
		}
		return p.ready(ctx)
	}
	part, err := p.part(command.Part)
	if err != nil {
		return err
	}
	if command.Signal == "" {
		command.Signal = "KILL"
	}
	number, known := signalNames[command.Signal]
	if !known {
		return fmt.Errorf("no signal %q; there are TERM, KILL, STOP, CONT", command.Signal)
	}
	switch command.Do {
	case "stop":
		return part.stop(number, orderlyTimeout)
	case "signal":
		return part.signal(number)
	case "start":
		return p.restart(ctx, part)
	}
	return fmt.Errorf("no command %q; there are stop, start, signal, ready", command.Do)
}

// holdLock waits for its turn. The lock belongs to this process rather than to the test that started it: the
// parts may outlive the test by a moment, and the next control plane must wait for that.
func holdLock(ctx context.Context, path string) (func(), error) {
	file, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	for told := false; ; told = true {
		err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err == nil {
			return func() { _ = file.Close() }, nil
		}
		if err != syscall.EWOULDBLOCK && err != syscall.EINTR {
			return nil, fmt.Errorf("locking %s: %w", path, err)
		}
		if !told {
			fmt.Fprintf(os.Stderr, "cluster: another control plane runs; waiting for the lock on %s\n", path)
		}
		select {
		case <-ctx.Done():
			_ = file.Close()
			return nil, ctx.Err()
		case <-time.After(200 * time.Millisecond):
		}
	}
}

func say(reply answer) {
	text, err := json.Marshal(reply)
	if err != nil {
		text = []byte(`{"ok":false,"error":"an answer could not be written"}`)
	}
	fmt.Println(string(text))
}
