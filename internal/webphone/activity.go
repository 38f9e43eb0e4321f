package webphone

import (
	"context"
	"strconv"
	"sync"
	"time"

	"vmux/internal/device"
	"vmux/internal/signer"
	"vmux/internal/sshctx"
	"vmux/internal/wire"
)

const (
	defaultRecords = 50
	maxRecords     = 500
	// maxIssued bounds the certificates that are listed.
	maxIssued = 256
)

// Record is one line of the activity log. ID counts from 1, the oldest that is
// kept.
type Record struct {
	ID int `json:"id"`
	signer.Record
}

// activity returns records, newest first: those before the record of an ID, or
// the newest.
func (p *Phone) activity(_ context.Context, a arguments) (any, error) {
	all, err := p.signer.Activity()
	if err != nil {
		return nil, err
	}
	limit := min(max(a.Limit, 0), maxRecords)
	if limit == 0 {
		limit = defaultRecords
	}
	end := len(all)
	if a.Before > 0 {
		end = min(end, a.Before-1)
	}
	list := []Record{}
	for i := end - 1; i >= 0 && len(list) < limit; i-- {
		list = append(list, Record{i + 1, all[i]})
	}
	return list, nil
}

// Certificate is a session certificate that this phone has issued.
type Certificate struct {
	Serial      string   `json:"serial"`
	Computer    string   `json:"computer"`
	Identity    string   `json:"identity"`
	Principals  []string `json:"principals"`
	ValidAfter  int64    `json:"validAfter"`
	ValidBefore int64    `json:"validBefore"`
	IssuedAt    int64    `json:"issuedAt"`
}

// issued are the certificates that may still be valid, oldest first.
type issued struct {
	mu   sync.Mutex
	made []Certificate
}

func (i *issued) add(c Certificate) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.made = append(i.made[max(0, len(i.made)-maxIssued+1):], c)
}

// list returns those that are valid at now, newest first.
func (i *issued) list(now time.Time) []Certificate {
	i.mu.Lock()
	defer i.mu.Unlock()
	list := []Certificate{}
	for n := len(i.made) - 1; n >= 0; n-- {
		if i.made[n].ValidBefore > now.UnixMilli() {
			list = append(list, i.made[n])
		}
	}
	return list
}

// loadIssued reads the log once for what was issued before.
func (p *Phone) loadIssued() error {
	all, err := p.signer.Activity()
	if err != nil {
		return err
	}
	now := p.cfg.Now()
	for _, r := range all {
		until, err := time.Parse(time.RFC3339, r.ValidBefore)
		if r.Kind != "certificate" || r.Decision != "approved" || err != nil || !until.After(now) {
			continue
		}
		from, _ := time.Parse(time.RFC3339, r.ValidAfter)
		p.issued.add(Certificate{
			Serial: r.Serial, Computer: r.DeviceName, Identity: r.Label, Principals: r.Principals,
			ValidAfter: milliseconds(from), ValidBefore: milliseconds(until), IssuedAt: milliseconds(r.Time),
		})
	}
	return nil
}

func (p *Phone) noteIssued(from device.Peer, label string, r *wire.CertificateResponse) {
	cert, err := sshctx.ParseCertificate(r.CertificateBlob)
	if err != nil { // this phone made it
		p.cfg.Log.Error("read the certificate that was issued", "err", err)
		return
	}
	p.issued.add(Certificate{
		Serial: strconv.FormatUint(cert.Serial, 10), Computer: wire.Show(from.Name), Identity: label,
		Principals: cert.ValidPrincipals, ValidAfter: int64(cert.ValidAfter) * 1000,
		ValidBefore: int64(cert.ValidBefore) * 1000, IssuedAt: p.cfg.Now().UnixMilli(),
	})
}
