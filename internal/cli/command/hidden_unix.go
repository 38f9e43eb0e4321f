//go:build linux || darwin

package command

import (
	"os"
	"os/signal"
	"syscall"

	"golang.org/x/sys/unix"
)

// hideAgain hides what is typed once this program goes on after ^Z (fg): the shell has set its
// own mode meanwhile, which would show it.
func (o *IO) hideAgain(terminal int, prompt string) (end func()) {
	goesOn, ending, ended := make(chan os.Signal, 1), make(chan struct{}), make(chan struct{})
	signal.Notify(goesOn, syscall.SIGCONT)
	go func() {
		defer close(ended)
		for {
			select {
			case <-ending:
				return
			case <-goesOn:
				mode, err := unix.IoctlGetTermios(terminal, getTermios)
				if err == nil {
					mode.Lflag &^= unix.ECHO
					err = unix.IoctlSetTermios(terminal, setTermios, mode)
				}
				if err == nil {
					o.Aside(prompt + ": ")
				}
			}
		}
	}()
	return func() {
		signal.Stop(goesOn)
		close(ending)
		<-ended
	}
}
