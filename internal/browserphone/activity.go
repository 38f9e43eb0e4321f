package browserphone

import (
	"bytes"
	"context"
	"encoding/json"
	"slices"

	"vmux/internal/signer"
	"vmux/internal/signer/activity"
	"vmux/internal/wire"
)

const (
	defaultRecords = 50
	maxRecords     = 500
)

// Record is one line of the activity log. ID counts from 1, the oldest that is
// kept.
type Record struct {
	ID int `json:"id"`
	activity.Record
}

// activity returns records, newest first: those before the record of an ID, or
// the newest.
func (p *Phone) activity(_ context.Context, a arguments) (any, error) {
	all, err := p.signer.Activity.Records()
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

// pauseReport is what a paused computer has asked for since the denials.
type pauseReport struct {
	activity.Report
	Lines string `json:"lines"` // the records in JSON, one on each line: a file to keep
}

func (p *Phone) pauseReport(_ context.Context, a arguments) (any, error) {
	all, err := p.signer.Pauses()
	if err != nil {
		return nil, err
	}
	for _, pause := range slices.Backward(all) {
		if pause.Program == (wire.Text{}) && pause.DeviceID.String() == a.ID {
			return p.reportOf(pause)
		}
	}
	return nil, &Error{Code: "notFound", Message: "This computer is not paused any more. What it asked stands under Activity."}
}

func (p *Phone) reportOf(pause signer.Pause) (any, error) {
	r, err := p.signer.Activity.Report(pause.DeviceID, pause.Since)
	if err != nil {
		return nil, err
	}
	var lines bytes.Buffer
	for _, rec := range r.Records {
		if err := json.NewEncoder(&lines).Encode(rec); err != nil {
			return nil, err
		}
	}
	return pauseReport{r, lines.String()}, nil
}

// verifyActivity follows the chain through the log.
func (p *Phone) verifyActivity(context.Context, arguments) (any, error) {
	return p.signer.Activity.Verify()
}

// exportActivity returns the log as text, one JSON record on each line.
func (p *Phone) exportActivity(context.Context, arguments) (any, error) {
	b, err := p.signer.Activity.Export()
	return string(b), err
}
