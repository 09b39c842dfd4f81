package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"time"
)

// part is one process of the control plane. It may be stopped and started again, always with the same
// arguments and so on the same port.
type part struct {
	name string   // as a test calls it
	args []string // role first
	env  []string
	log  string
	exe  string

	mu      sync.Mutex
	process *os.Process
	exited  chan struct{} // closed when the present process has been waited for
	wanted  bool          // whether a test or the end of the run has not asked for it to be down
}

// spawner runs fork on a thread that lives as long as the supervisor: the kernel sends the parent-death
// signal when the *thread* that forked ends, and Go ends and moves threads as it likes.
var spawner = func() chan func() {
	jobs := make(chan func())
	go func() {
		runtime.LockOSThread()
		for job := range jobs {
			job()
		}
	}()
	return jobs
}()

func (p *part) start() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.alive() {
		return fmt.Errorf("%s runs already", p.name)
	}
	log, err := os.OpenFile(p.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	cmd := exec.Command(p.exe, p.args...)
	cmd.Env = append(os.Environ(), p.env...)
	cmd.Dir = filepath.Dir(p.log)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = partAttributes()
	failed := make(chan error)
	spawner <- func() { failed <- cmd.Start() }
	if err := <-failed; err != nil {
		return fmt.Errorf("starting %s: %w", p.name, err)
	}
	exited := make(chan struct{})
	p.process, p.exited, p.wanted = cmd.Process, exited, true
	go func() {
		err := cmd.Wait()
		p.mu.Lock()
		unasked := p.wanted
		p.mu.Unlock()
		if unasked {
			fmt.Fprintf(os.Stderr, "cluster: %s ended by itself: %v\n", p.name, err)
		}
		close(exited)
	}()
	return nil
}

// alive needs p.mu held.
func (p *part) alive() bool {
	if p.process == nil {
		return false
	}
	select {
	case <-p.exited:
		return false
	default:
		return true
	}
}

func (p *part) running() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.alive()
}

func (p *part) pid() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.alive() {
		return 0
	}
	return p.process.Pid
}

// signal sends it without waiting for anything: SIGSTOP makes a part hang, SIGCONT lets it go on.
func (p *part) signal(s syscall.Signal) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.alive() {
		return fmt.Errorf("%s does not run", p.name)
	}
	return p.process.Signal(s)
}

// stop returns when the process is gone, so that its port is free again. It kills what does not heed the
// signal within patience.
func (p *part) stop(s syscall.Signal, patience time.Duration) error {
	p.mu.Lock()
	p.wanted = false
	if !p.alive() {
		p.mu.Unlock()
		return fmt.Errorf("%s does not run", p.name)
	}
	process, exited := p.process, p.exited
	p.mu.Unlock()
	_ = process.Signal(s)
	// A part that hangs by SIGSTOP would not notice SIGTERM.
	_ = process.Signal(syscall.SIGCONT)
	select {
	case <-exited:
	case <-time.After(patience):
		_ = process.Kill()
		<-exited
	}
	return nil
}

// lastWords is the end of the part's log, for error messages.
func (p *part) lastWords() string {
	text, err := os.ReadFile(p.log)
	if err != nil {
		return err.Error()
	}
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	if len(lines) > 15 {
		lines = lines[len(lines)-15:]
	}
	return fmt.Sprintf("%s says (%s):\n%s", p.name, p.log, strings.Join(lines, "\n"))
}
