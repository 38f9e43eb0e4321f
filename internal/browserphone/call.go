package browserphone

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"vmux/internal/browserphone/passphrase"
	"vmux/internal/signer"
	"vmux/internal/signer/backup"
	"vmux/internal/signer/policy"
	"vmux/internal/webauthn"
	"vmux/internal/wire"
)

// maxArguments bounds what the page passes: a backup is the largest, in base64.
const maxArguments = 2 * backup.MaxSize

// errNotAsked is for an answer of a passkey that nobody asked for.
var errNotAsked = errors.New("it answers no question of this page")

// arguments are those of all functions.
type arguments struct {
	ID          string          `json:"id"`
	Label       string          `json:"label"`
	Algorithm   string          `json:"algorithm"`
	Fingerprint string          `json:"fingerprint"`
	Enabled     bool            `json:"enabled"`
	File        string          `json:"file"`
	Backup      []byte          `json:"backup"`
	Passphrase  string          `json:"passphrase"`
	Kind        string          `json:"kind"`
	Name        string          `json:"name"`
	Invitation  string          `json:"invitation"`
	Principals  []string        `json:"principals"`
	Policy      *policy.Issuing `json:"policy"`
	Limit       int             `json:"limit"`
	Before      int             `json:"before"`
	Decision    *decision       `json:"decision"`

	ValiditySeconds int64           `json:"validitySeconds"`
	Subscription    json.RawMessage `json:"subscription"`
	Renewal         bool            `json:"renewal"`
	Acknowledged    bool            `json:"acknowledged"`
	Mute            bool            `json:"mute"`
	Joined          []string        `json:"joined"` // sheets that this one has listed, and that are answered with it
	Serial          string          `json:"serial"`
	Rules           *policy.Rules   `json:"rules"`

	// What WebAuthn has answered.
	Assertion    *webauthn.Assertion    `json:"assertion"`
	Registration *webauthn.Registration `json:"registration"`
	// What must not lie about as text: the output of the PRF extension or the passphrase
	// of the vault that it opens, and the passphrase that it is to open with from now on.
	secret, newSecret []byte
	last              []byte // of all that there are
}

func wipe(secrets [][]byte) {
	for _, s := range secrets {
		clear(s)
	}
}

// take has the secrets among the arguments.
func (a *arguments) take(secrets [][]byte) {
	if n := len(secrets); n > 0 {
		a.secret, a.last = secrets[0], secrets[n-1]
	}
	if len(secrets) > 1 {
		a.newSecret = secrets[1]
	}
}

// decision is the person's: on a certificate's sheet what it shall say, on a
// signature's for how long the like of it may pass.
type decision struct {
	ValiditySeconds int64    `json:"validitySeconds"`
	Principals      []string `json:"principals"`
	GrantSeconds    int64    `json:"grantSeconds"`
}

func (d decision) signers() signer.CertificateDecision {
	return signer.CertificateDecision{Validity: time.Duration(d.ValiditySeconds) * time.Second, Principals: d.Principals}
}

func parseArguments(b []byte) (arguments, error) {
	var a arguments
	if len(b) > maxArguments {
		return a, &Error{Code: "tooLarge", Message: "That is too large."}
	}
	if len(b) > 0 && json.Unmarshal(b, &a) != nil {
		return a, &Error{Code: "malformed", Message: "The page passed arguments that cannot be read."}
	}
	return a, nil
}

// functions are those that the page calls.
var functions = map[string]func(*Phone, context.Context, arguments) (any, error){
	"state":          func(p *Phone, _ context.Context, _ arguments) (any, error) { return p.State() },
	"approve":        (*Phone).approve,
	"deny":           (*Phone).deny,
	"shown":          (*Phone).shown,
	"decide":         (*Phone).decide,
	"createPasskey":  (*Phone).createPasskey,
	"createVault":    (*Phone).createVault,
	"importVault":    (*Phone).importVault,
	"discardKey":     (*Phone).discardKey,
	"renameIdentity": (*Phone).renameIdentity,
	"enableIdentity": (*Phone).enableIdentity,
	"setDefault":     (*Phone).setDefault,
	"setPrincipals":  (*Phone).setPrincipals,
	"deleteIdentity": (*Phone).deleteIdentity,

	"changePassphrase":  (*Phone).changePassphrase,
	"suggestPassphrase": func(*Phone, context.Context, arguments) (any, error) { return passphrase.Suggest(), nil },

	"createCA":       (*Phone).createCA,
	"setPolicy":      (*Phone).setPolicy,
	"deleteCA":       (*Phone).deleteCA,
	"setRules":       (*Phone).setRules,
	"refusals":       (*Phone).refusals,
	"enableGrants":   (*Phone).enableGrants,
	"endGrant":       (*Phone).endGrant,
	"endPauses":      (*Phone).endPauses,
	"pauseReport":    (*Phone).pauseReport,
	"hosts":          (*Phone).hosts,
	"forgetHost":     (*Phone).forgetHost,
	"revoke":         (*Phone).revoke,
	"revocationList": (*Phone).revocationList,

	"previewInvitation": (*Phone).previewInvitation,
	"pair":              (*Phone).pair,
	"unpair":            (*Phone).unpair,
	"activity":          (*Phone).activity,
	"verifyActivity":    (*Phone).verifyActivity,
	"exportActivity":    (*Phone).exportActivity,
	"rename":            (*Phone).rename,
	"foreground":        (*Phone).foreground,
	"background":        (*Phone).background,
	"subscribePush":     (*Phone).subscribePush,
	"unsubscribePush":   (*Phone).unsubscribePush,
	"pushFailed":        (*Phone).pushFailed,
	"testPush":          (*Phone).testPush,
	"exportPublicKeys":  (*Phone).exportPublicKeys,
	"newPassphrase":     (*Phone).newPassphrase,
	"makeBackup":        (*Phone).makeBackup,
	"backupSaved":       (*Phone).backupSaved,
	"openBackup":        (*Phone).openBackup,
	"haveAnotherWay":    (*Phone).haveAnotherWay,
	"closeBackup":       (*Phone).closeBackup,
	"restoreBackup":     (*Phone).restoreBackup,
	"wipe":              (*Phone).wipe,
}

// Call runs one of the page's functions with arguments in JSON, and secrets, which it
// wipes: the output of the PRF extension if a passkey gave one, and passphrases. What it returns can be written as JSON; AsError makes its errors fit for
// the page.
func (p *Phone) Call(ctx context.Context, name string, args []byte, secrets ...[]byte) (any, error) {
	defer wipe(secrets)
	f := functions[name]
	if f == nil {
		return nil, &Error{Code: "unknownFunction", Message: "There is no function " + wire.Show(name) + "."}
	}
	a, err := parseArguments(args)
	if err != nil {
		return nil, err
	}
	a.take(secrets)
	return f(p, ctx, a)
}
