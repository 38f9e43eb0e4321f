package race

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

type conn struct{ closed bool }

func (c *conn) Close() error { c.closed = true; return nil }

// The first that connects wins, wherever it stands; one that connects all the same
// is closed, and one that has not begun never does.
func TestFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		conns := make([]*conn, 4)
		won, way, errs := First(t.Context(), len(conns), time.Second, func(ctx context.Context, way int) (*conn, error) {
			conns[way] = new(conn)
			switch way {
			case 0:
				<-ctx.Done() // and connects nevertheless
			case 1:
				return nil, errors.New("refused")
			}
			return conns[way], nil
		})
		if way != 2 || won != conns[2] || won.closed || !conns[0].closed || conns[3] != nil || len(errs) != 2 {
			t.Errorf("way %d, %v, %v", way, conns, errs)
		}
	})
}

// Where none connects, the reasons of all are told.
func TestNone(t *testing.T) {
	why := errors.New("refused")
	_, way, errs := First(t.Context(), 2, 0, func(context.Context, int) (*conn, error) { return nil, why })
	if way != -1 || len(errs) != 2 || !errors.Is(errors.Join(errs...), why) {
		t.Errorf("way %d, %v", way, errs)
	}
}
