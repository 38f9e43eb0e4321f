package keyfile

import (
	"bytes"
	"slices"
	"strings"
)

// notText tells files that are no text.
func notText(file []byte) error {
	switch {
	case len(bytes.TrimSpace(file)) == 0:
		return &Error{"the file is empty", ""}
	case bytes.HasPrefix(file, []byte("SSH PRIVATE KEY FILE FORMAT 1.1\n")):
		return &Error{"this is a key of SSH version 1, which no server speaks any more", newKey}
	case bytes.HasPrefix(file, []byte{0x30, 0x80}), bytes.HasPrefix(file, []byte{0x30, 0x81}), bytes.HasPrefix(file, []byte{0x30, 0x82}),
		file[0] == 0x30 && len(file) > 1 && int(file[1]) == len(file)-2:
		if bytes.Contains(file[:min(len(file), 64)], []byte("\x2a\x86\x48\x86\xf7\x0d\x01\x07")) {
			return &Error{"this is a PKCS #12 file", "openssl pkcs12 -in FILE -nocerts -out NEW.pem, and import that"}
		}
		return &Error{"this is a DER file, binary and not text", "openssl pkey -inform DER -in FILE -out NEW.pem, and import that"}
	case bytes.HasPrefix(file, []byte{0xfe, 0xed, 0xfe, 0xed}):
		return &Error{"this is a Java key store", ""}
	}
	return nil
}

// mistakes are what is given for a private key, by a text that tells it. The
// first that is there counts.
var mistakes = []struct {
	sign string
	Error
}{
	{"BEGIN SSH2 PUBLIC KEY", Error{"this is a public key, and the private one is to be imported", "the private key is in another file; PuTTY's ends in .ppk"}},
	{"BEGIN SSH2 ENCRYPTED PRIVATE KEY", Error{"private keys of ssh.com's format are not read", "ssh-keygen -i -f FILE > NEW, if it has no passphrase, and import that"}},
	{"PUBLIC KEY-----", Error{
		"this is a public key, and the private one is to be imported", "the private key is in another file, which says PRIVATE KEY in its first line",
	}},
	{"CERTIFICATE-----", Error{"this is an X.509 certificate, which holds no private key", "import the private key that it is for"}},
	{"BEGIN SSH SIGNATURE", Error{"this is a signature, not a key", ""}},
	{"BEGIN PGP", Error{"this is a PGP file, not an SSH key", "gpg-agent serves PGP's authentication keys: --upstream \"$(gpgconf --list-dirs agent-ssh-socket)\""}},
	{"AGE-SECRET-KEY-", Error{"this is a file of age, not an SSH key", ""}},
	{"BEGIN AGE ENCRYPTED FILE", Error{"this is a file of age, not an SSH key", ""}},
	{"age-encryption.org/", Error{"this is a file of age, not an SSH key", ""}},
	{"Windows Registry Editor", Error{"this is a file of the Windows registry, not a key", "PuTTY's keys are in files that end in .ppk"}},
	{"PRIVATE KEY-----", Error{
		"the key file is damaged: its first line, -----BEGIN … PRIVATE KEY-----, is missing", "copy it anew, with all of its lines",
	}},
}

// mistaken says what a text is that holds no private key.
func mistaken(text []byte) error {
	if algorithm := publicLine(string(text)); strings.HasSuffix(algorithm, "-cert-v01@openssh.com") {
		return &Error{"this is an SSH certificate, which holds no private key", "import the private key that it is for: the file of the same name without -cert.pub"}
	} else if algorithm != "" {
		return &Error{"this is a public key, and the private one is to be imported", "the private key is in the file of the same name without .pub"}
	}
	for _, m := range mistakes {
		if bytes.Contains(text, []byte(m.sign)) {
			return &Error{m.text, m.hint}
		}
	}
	return &Error{"this is no private key file: it has no line such as -----BEGIN OPENSSH PRIVATE KEY-----", "ssh-keygen -y -f FILE tells whether OpenSSH can read it"}
}

// publicLine returns the key type of the first line as in authorized_keys or
// known_hosts, or nothing.
func publicLine(text string) string {
	words := strings.Fields(text)
	i := slices.IndexFunc(words, func(w string) bool { return strings.HasPrefix(w, "AAAA") })
	if i < 1 {
		return ""
	}
	for _, prefix := range []string{"ssh-", "ecdsa-", "sk-"} {
		if strings.HasPrefix(words[i-1], prefix) {
			return words[i-1]
		}
	}
	return ""
}
