package main

import "syscall"

// partAttributes gives each part a process group of its own, so that a Ctrl-C reaches only the supervisor,
// which then stops the parts in order; and has the kernel kill it when the supervisor is killed outright.
func partAttributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}
