package phonecmd

import (
	"strings"
	"testing"
	"time"

	"vmux/internal/device"
	"vmux/internal/signer/activity"
	"vmux/internal/wire"
)

// What stands in the log, as `vmux phone log` says it.
func TestRecordLines(t *testing.T) {
	id := device.ID{1}.String()
	at := time.Date(2026, 11, 29, 10, 0, 0, 0, time.Local)
	for _, tt := range []struct {
		r    activity.Record
		want string
	}{
		{activity.Record{Kind: "sign", DeviceID: id, DeviceName: wire.Clean("laptop"), Label: wire.Clean("work"), What: wire.Clean("root@prod"), Decision: "approved"},
			"approved   laptop  key work  root@prod"},
		{activity.Record{Kind: "sign", DeviceID: id, DeviceName: wire.Clean("laptop"), Label: wire.Clean("work"), What: wire.Clean("git commit signature"), Decision: "approved", Grant: true},
			"approved   laptop  key work  git commit signature  by a grant, nobody was asked"},
		{activity.Record{Kind: "certificate", DeviceID: id, DeviceName: wire.Clean("laptop"), Label: wire.Clean("work"), Principals: []string{"root", "deploy"}, Decision: "approved"},
			"approved   laptop  key work  session certificate for root,deploy"},
		{activity.Record{Kind: "certificate", DeviceID: id, DeviceName: wire.Clean("laptop"), Decision: "refused", Message: wire.Clean("The key is switched off on the phone.")},
			"refused    laptop  session certificate  The key is switched off on the phone."},
		{activity.Record{Kind: "sign", DeviceID: id, DeviceName: wire.Clean("laptop"), Label: wire.Clean("work"), What: wire.Clean("root@prod"), Decision: "refused", Message: wire.Clean("muted: this program is not asked for"),
			Count: 3500, Until: at.Add(41 * time.Second), Asked: []activity.Asked{{What: wire.Clean("root@prod"), Times: 3000}, {What: wire.Clean("root@db"), Times: 500}}},
			"refused    laptop  3500 times until 10:00:41  key work  root@prod, and others  muted: this program is not asked for"},
		{activity.Record{Kind: "key", Label: wire.Clean("work"), What: wire.Clean("ssh-ed25519, file"), Decision: "created"}, "created    key work  ssh-ed25519, file"},
		{activity.Record{Kind: "key", Label: wire.Clean("work"), What: wire.Clean("policy: hosts prod; forbidden forwarded"), Decision: "changed"}, "changed    key work  policy: hosts prod; forbidden forwarded"},
		{activity.Record{Kind: "key", Label: wire.Clean("work"), Decision: "deleted"}, "deleted    key work"},
		{activity.Record{Kind: "ca", Label: wire.Clean("vmux-ca"), What: wire.Clean("policy: principals root"), Decision: "changed"}, "changed    CA  policy: principals root"},
		{activity.Record{Kind: "pairing", DeviceID: id, DeviceName: wire.Clean("laptop"), Decision: "paired"}, "paired     laptop  device " + device.ID{1}.Short()},
		{activity.Record{Kind: "pairing", DeviceID: id, DeviceName: wire.Clean("lap\x1btop"), What: wire.Clean("by the computer"), Decision: "unpaired"},
			"unpaired   lap\ufffdtop  device " + device.ID{1}.Short() + "  by the computer"},
		{activity.Record{Kind: "grants", Decision: "enabled"}, "enabled    grants"},
	} {
		tt.r.Time = at
		if got := recordLine(tt.r); got != "2026-11-29 10:00:00  "+tt.want {
			t.Errorf("got  %s\nwant %s", got, "2026-11-29 10:00:00  "+tt.want)
		}
	}
}

// What a log has dropped is said with its numbers; what an older version has dropped
// without counting, as that.
func TestDroppedText(t *testing.T) {
	until := time.Date(2026, 11, 20, 10, 0, 0, 0, time.Local)
	l := activity.Chain{Log: "refused", Dropped: &activity.Dropped{Records: 812, Until: until, Kinds: map[string]int{"sign refused": 3500, "certificate expired": 1}}}
	want := "dropped by age: the first 812 records of refused requests, until 2026-11-20 10:00:00: 1 certificate expired, 3500 signatures refused"
	if got := droppedText(l); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	l = activity.Chain{Dropped: &activity.Dropped{Records: 1}}
	if got := droppedText(l); got != "dropped by age: the first 1 record; of which kinds, this version cannot tell" {
		t.Error(got)
	}
	l.Dropped.Kinds = map[string]int{strings.Repeat("x", 300) + "\x1b y": 1}
	if got := droppedText(l); wire.Show(got[len(got)-100:]) != got[len(got)-100:] {
		t.Errorf("a damaged log writes to the terminal: %q", got)
	}
}
