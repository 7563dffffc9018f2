package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// This file is a layer between a command under test and the file system. The
// command has the kernel ask the test about its file operations (seccomp's user
// notification), and the test lets each pass, or has it fail. So faults come to
// the code that is shipped, at every call that it makes, ONNX Runtime's too.

// operation is one call on a file or folder.
type operation struct {
	call  string
	path  string // absolute
	to    string // of a rename
	bytes int    // of a write or read
}

func (o operation) String() string {
	if o.to != "" {
		return fmt.Sprintf("%s %s to %s", o.call, o.path, o.to)
	}
	return o.call + " " + o.path
}

// changes reports whether the operation may change files.
func (o operation) changes() bool {
	return !strings.HasPrefix(o.call, "read") && o.call != "stat" && o.call != "list"
}

// within reports whether the operation touches a folder or what is in it.
func (o operation) within(folder string) bool {
	in := func(path string) bool { return path == folder || strings.HasPrefix(path, folder+"/") }
	return in(o.path) || in(o.to)
}

// answer is what becomes of an operation: nothing special, an error, or a write
// of half the bytes.
type answer struct {
	errno syscall.Errno
	short bool
	after time.Duration // slowly
}

// injected are the system calls that the test is asked about, by the name that
// operations have.
var injected = map[int32]string{
	unix.SYS_OPENAT: "open", unix.SYS_READ: "read", unix.SYS_PREAD64: "read", unix.SYS_GETDENTS64: "list",
	unix.SYS_FSTAT: "stat", unix.SYS_NEWFSTATAT: "stat", unix.SYS_WRITE: "write", unix.SYS_PWRITE64: "write",
	unix.SYS_FSYNC: "sync", unix.SYS_FTRUNCATE: "truncate", unix.SYS_MKDIRAT: "mkdir", unix.SYS_UNLINKAT: "remove",
	unix.SYS_RENAMEAT: "rename", unix.SYS_RENAMEAT2: "rename", unix.SYS_LINKAT: "link", unix.SYS_COPY_FILE_RANGE: "write",
}

// askVariable tells a command under test to ask about its operations, by way of
// the first file that it inherits.
const askVariable = "RELEVIT_ASK"

// askAboutFiles installs the filter and sends the other end of it. It is called
// in the command under test.
func askAboutFiles() error {
	if os.Getenv(askVariable) == "" {
		return nil
	}
	load := unix.SockFilter{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS} // the call's number, first in seccomp_data
	program := []unix.SockFilter{load}
	for nr := range injected {
		program = append(program,
			unix.SockFilter{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: uint32(nr), Jf: 1},
			unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_USER_NOTIF})
	}
	program = append(program, unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ALLOW})
	prog := unix.SockFprog{Len: uint16(len(program)), Filter: &program[0]}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return err
	}
	const flags = unix.SECCOMP_FILTER_FLAG_NEW_LISTENER | unix.SECCOMP_FILTER_FLAG_TSYNC | unix.SECCOMP_FILTER_FLAG_TSYNC_ESRCH |
		unix.SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV
	fd, _, errno := unix.RawSyscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, flags, uintptr(unsafe.Pointer(&prog)))
	if errno != 0 {
		return errno
	}
	if err := unix.Sendmsg(3, []byte{0}, unix.UnixRights(int(fd)), nil, 0); err != nil {
		return err
	}
	return errors.Join(unix.Close(int(fd)), unix.Close(3))
}

// supervised runs a command and has decide answer for each of its operations,
// one at a time. It skips the test where the kernel lacks the means.
func supervised(t *testing.T, cmd *exec.Cmd, decide func(operation) answer) {
	t.Helper()
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	ours, theirs := os.NewFile(uintptr(pair[0]), "ours"), os.NewFile(uintptr(pair[1]), "theirs")
	defer ours.Close()
	cmd.ExtraFiles = []*os.File{theirs}
	if cmd.Env == nil {
		cmd.Env = os.Environ()
	}
	cmd.Env = append(cmd.Env, askVariable+"=1")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	theirs.Close()
	data, rights := make([]byte, 1), make([]byte, unix.CmsgSpace(4))
	n, m, _, _, err := unix.Recvmsg(pair[0], data, rights, unix.MSG_CMSG_CLOEXEC)
	if err != nil || n == 0 {
		cmd.Process.Kill()
		cmd.Wait()
		untried.Store("seccomp")
		t.Skipf("needs seccomp's user notification, of Linux 5.19 (%v)", err)
	}
	messages, err := unix.ParseSocketControlMessage(rights[:m])
	if err != nil {
		t.Fatal(err)
	}
	fds, err := unix.ParseUnixRights(&messages[0])
	if err != nil {
		t.Fatal(err)
	}
	s := &supervisor{t: t, listener: fds[0], pid: cmd.Process.Pid, decide: decide}
	served := make(chan struct{})
	go func() {
		defer close(served)
		s.serve()
	}()
	cmd.Wait()
	<-served
	unix.Close(s.listener)
}

type supervisor struct {
	t        *testing.T
	listener int
	pid      int
	decide   func(operation) answer
}

// notification and response are the kernel's seccomp_notif and
// seccomp_notif_resp.
type notification struct {
	id    uint64
	pid   uint32
	flags uint32
	nr    int32
	arch  uint32
	ip    uint64
	args  [6]uint64
}

type response struct {
	id    uint64
	value int64
	errno int32
	flags uint32
}

// serve answers until the process is no more.
func (s *supervisor) serve() {
	for {
		poll := []unix.PollFd{{Fd: int32(s.listener), Events: unix.POLLIN}}
		if _, err := unix.Poll(poll, -1); err == unix.EINTR {
			continue
		}
		if poll[0].Revents&unix.POLLIN == 0 {
			return
		}
		var n notification
		if _, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(s.listener), unix.SECCOMP_IOCTL_NOTIF_RECV, uintptr(unsafe.Pointer(&n))); errno != 0 {
			continue // the call was interrupted, or the thread was killed
		}
		r := response{id: n.id, flags: unix.SECCOMP_USER_NOTIF_FLAG_CONTINUE}
		op, ok := s.operation(&n)
		if !ok {
			s.send(&r)
			continue
		}
		a := s.decide(op)
		switch {
		case a.short:
			r = response{id: n.id, value: s.half(&n)}
		case a.errno != 0:
			r = response{id: n.id, errno: -int32(a.errno)}
		}
		if a.after > 0 {
			time.AfterFunc(a.after, func() { s.send(&r) })
			continue
		}
		s.send(&r)
	}
}

func (s *supervisor) send(r *response) {
	unix.Syscall(unix.SYS_IOCTL, uintptr(s.listener), unix.SECCOMP_IOCTL_NOTIF_SEND, uintptr(unsafe.Pointer(r)))
}

// operation tells what a call is about; it is not ok for what is no file.
func (s *supervisor) operation(n *notification) (op operation, ok bool) {
	op.call = injected[n.nr]
	switch n.nr {
	case unix.SYS_OPENAT, unix.SYS_MKDIRAT, unix.SYS_UNLINKAT, unix.SYS_NEWFSTATAT:
		op.path = s.at(n.args[0], n.args[1])
		if n.nr == unix.SYS_OPENAT && n.args[2]&(unix.O_WRONLY|unix.O_RDWR|unix.O_CREAT|unix.O_TRUNC) == 0 {
			op.call = "read open"
		}
	case unix.SYS_RENAMEAT, unix.SYS_RENAMEAT2, unix.SYS_LINKAT:
		op.path, op.to = s.at(n.args[0], n.args[1]), s.at(n.args[2], n.args[3])
	case unix.SYS_COPY_FILE_RANGE:
		op.path, op.bytes = s.of(n.args[2]), int(n.args[4])
	default:
		op.path, op.bytes = s.of(n.args[0]), int(n.args[2])
	}
	return op, filepath.IsAbs(op.path)
}

// of is the path of an open file.
func (s *supervisor) of(fd uint64) string {
	path, _ := os.Readlink(fmt.Sprintf("/proc/%d/fd/%d", s.pid, int32(fd)))
	return strings.TrimSuffix(path, " (deleted)")
}

// at is a path that a call names, relative to an open folder.
func (s *supervisor) at(fd, address uint64) string {
	path := string(s.memory(address, 4096))
	if end := strings.IndexByte(path, 0); end >= 0 {
		path = path[:end]
	}
	if filepath.IsAbs(path) {
		return filepath.Clean(path)
	}
	folder := s.of(fd)
	if int32(fd) == unix.AT_FDCWD {
		folder, _ = os.Readlink(fmt.Sprintf("/proc/%d/cwd", s.pid))
	}
	return filepath.Join(folder, path)
}

// memory reads the process's memory, up to the end of the page that can't be
// read.
func (s *supervisor) memory(address uint64, n int) []byte {
	data := make([]byte, n)
	page := os.Getpagesize()
	var parts []unix.RemoteIovec
	for at, end := uintptr(address), uintptr(address)+uintptr(n); at < end; {
		size := min(page-int(at)%page, int(end-at))
		parts = append(parts, unix.RemoteIovec{Base: at, Len: size})
		at += uintptr(size)
	}
	local := []unix.Iovec{{Base: &data[0]}}
	local[0].SetLen(n)
	read, err := unix.ProcessVMReadv(s.pid, local, parts, 0)
	if err != nil {
		return nil
	}
	return data[:read]
}

// half writes half of what a call would, in its place.
func (s *supervisor) half(n *notification) int64 {
	process, err := unix.PidfdOpen(s.pid, 0)
	if err == nil {
		defer unix.Close(process)
		var fd int
		if fd, err = unix.PidfdGetfd(process, int(n.args[0]), 0); err == nil {
			defer unix.Close(fd)
			data := s.memory(n.args[1], max(1, min(int(n.args[2])/2, 1<<20)))
			written := 0
			if n.nr == unix.SYS_PWRITE64 {
				written, err = unix.Pwrite(fd, data, int64(n.args[3]))
			} else {
				written, err = unix.Write(fd, data)
			}
			if err == nil {
				return int64(written)
			}
		}
	}
	s.t.Errorf("writing the half: %v", err)
	return -int64(unix.EIO)
}
