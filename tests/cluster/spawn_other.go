//go:build !linux

package main

import "syscall"

// partAttributes: without Linux's parent-death signal, a supervisor that is killed outright leaves its parts.
func partAttributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true}
}
