// Package state keeps vmux's files: where they lie, who may read them, and how
// they are replaced without ever being half written. It knows nothing of what
// the files mean.
package state

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"vmux/internal/wire"
)

// maxSocketPath is the longest path of a Unix socket on macOS, less the final
// zero; Linux allows 107 bytes.
const maxSocketPath = 103

// Home is the folder below which all state lies.
type Home struct {
	path     string
	explicit bool // from VMUX_HOME: the socket then lies in it, too
}

// Find returns the home: $VMUX_HOME if set, else the platform's folder for
// state. It makes nothing.
func Find() (Home, error) {
	if path := os.Getenv("VMUX_HOME"); path != "" {
		if !filepath.IsAbs(path) {
			return Home{}, wire.WithHint(fmt.Errorf("VMUX_HOME is not an absolute path: %q", path), "the whole path: a shell expands ~ only where it stands unquoted")
		}
		return Home{path: filepath.Clean(path), explicit: true}, nil
	}
	path, err := platformFolder()
	if err != nil {
		return Home{}, fmt.Errorf("find the state folder: %w", noHome(err))
	}
	return Home{path: path}, nil
}

// noHome says what to do where the environment names no home folder: services have none at times.
func noHome(err error) error {
	return wire.WithHint(err, "set HOME to your home folder, or VMUX_HOME to the folder for vmux's files")
}

// BelowHome puts the person's home folder for ~, as a shell does; of other paths nothing
// changes. Where nobody does so a folder is made that is called ~, a trap for who removes it.
func BelowHome(path string) (string, error) {
	below, ok := strings.CutPrefix(path, "~/")
	if !ok {
		return path, nil
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return "", fmt.Errorf("find the folder for ~: %w", noHome(err))
	}
	return filepath.Join(home, below), nil
}

// Path returns the home's own path.
func (h Home) Path() string { return h.path }

// Agent opens the folder of the computer's side, making it if need be.
func (h Home) Agent() (*Dir, error) { return h.open("agent") }

// Phone opens the folder of the native phone, making it if need be.
func (h Home) Phone() (*Dir, error) { return h.open("phone") }

// Hub opens the folder of the hub, making it if need be.
func (h Home) Hub() (*Dir, error) { return h.open("hub") }

// Setup opens the folder of what `vmux setup` has written, making it if need be.
func (h Home) Setup() (*Dir, error) { return h.open("setup") }

// Servers opens the folder of what `vmux server` has put into servers, making it if need be.
func (h Home) Servers() (*Dir, error) { return h.open("servers") }

// open makes no folder that is root's in another user's home, as sudo would where it keeps
// HOME: that user could not use vmux any more.
func (h Home) open(name string) (*Dir, error) {
	path := filepath.Join(h.path, name)
	if !h.explicit && os.Geteuid() == 0 {
		at := path
		info, err := os.Stat(at)
		for errors.Is(err, fs.ErrNotExist) && at != filepath.Dir(at) {
			at = filepath.Dir(at)
			info, err = os.Stat(at)
		}
		if err == nil {
			if err := CheckOwner(at, info); err != nil {
				return nil, err
			}
		}
	}
	return OpenDir(path)
}

// AgentSocket returns the path of the SSH agent's socket: $VMUX_HOME/agent.sock,
// or ~/.ssh/vmux-agent.sock if VMUX_HOME is not set.
func (h Home) AgentSocket() (string, error) {
	if h.explicit {
		return checkSocket(filepath.Join(h.path, "agent.sock"))
	}
	user, err := os.UserHomeDir()
	if err != nil {
		return "", fmt.Errorf("find the home folder: %w", noHome(err))
	}
	return checkSocket(filepath.Join(user, ".ssh", "vmux-agent.sock"))
}

// CertificateFile returns where the session certificate is kept for ssh:
// vmux-session-cert.pub, beside the SSH agent's usual socket.
func (h Home) CertificateFile() (string, error) {
	socket, err := h.AgentSocket()
	if err != nil {
		return "", err
	}
	return filepath.Join(filepath.Dir(socket), "vmux-session-cert.pub"), nil
}

// ConfigFile returns the path of the configuration file: $VMUX_HOME/config.toml, or
// that in the platform's folder for configurations if VMUX_HOME is not set.
func (h Home) ConfigFile() (string, error) {
	const name = "config.toml"
	if h.explicit {
		return filepath.Join(h.path, name), nil
	}
	// The XDG Base Directory Specification has relative paths ignored. On macOS, too,
	// whoever sets the variable means it.
	if dir := os.Getenv("XDG_CONFIG_HOME"); filepath.IsAbs(dir) {
		return filepath.Join(dir, "vmux", name), nil
	}
	dir, err := configFolder()
	if err != nil {
		return "", fmt.Errorf("find the folder for configurations: %w", noHome(err))
	}
	return filepath.Join(dir, "vmux", name), nil
}

// ControlSocket returns the path of the agent's control socket.
func (h Home) ControlSocket() (string, error) {
	return checkSocket(filepath.Join(h.path, "agent", "control.sock"))
}

// PhoneSocket returns the path of the control socket of `vmux phone run`.
func (h Home) PhoneSocket() (string, error) {
	return checkSocket(filepath.Join(h.path, "phone", "control.sock"))
}

// ErrSocketPath is returned for a path that the system cannot bind.
var ErrSocketPath = errors.New("the socket's path is too long")

func checkSocket(path string) (string, error) {
	if len(path) > maxSocketPath {
		return "", fmt.Errorf("%w: %d bytes, at most %d, choose a shorter VMUX_HOME: %s", ErrSocketPath, len(path), maxSocketPath, path)
	}
	return path, nil
}
