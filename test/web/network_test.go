package web

import "testing"

// A hub at home whose app was installed from a public address, in a browser that
// keeps such pages from the local network: the app says so, has the browser ask from a
// tap, and is at its hub as soon as that is allowed, without a reload.
func TestLocalNetworkIsAskedFor(t *testing.T) {
	hub := StartHub(t)
	page := NewBrowser(t).Tab()
	page.Quirk("local-network-denied", "prompt", "granted")
	page.Go(hub.URL + "/")
	page.Wants("Is the hub in your own network?")
	page.Tap("Ask the browser")
	page.WaitHub()
	page.Hides("Is the hub in your own network?")
}

// Once denied, the browser asks no more: the app says where it is allowed, and notices
// when it is. A browser that has nothing to ask does not know the hub as a local one.
func TestLocalNetworkDenied(t *testing.T) {
	hub := StartHub(t)
	page := NewBrowser(t).Tab()
	page.Quirk("local-network-denied", "prompt", "denied")
	page.Go(hub.URL + "/")
	page.Tap("Ask the browser")
	page.Wants("This browser keeps vmux from your network")
	page.Hides("Ask the browser")
	page.Do("localNetwork('prompt')")
	page.Wants("Ask the browser")
	page.Do("localNetwork('granted')")
	page.WaitHub()
	page.Hides("This browser keeps vmux from your network")

	other := NewBrowser(t).Tab()
	other.Quirk("local-network-denied", "prompt", "prompt")
	other.Go(hub.URL + "/")
	other.Tap("Ask the browser")
	other.Wants("The browser did not ask")
}

// Where no permission is missing, a hub that is away is just that.
func TestNoLocalNetworkToAskFor(t *testing.T) {
	hub := StartHub(t)
	page := NewBrowser(t).Tab()
	page.Quirk("local-network-denied", "granted", "granted")
	page.Go(hub.URL + "/")
	page.WaitHub()
	hub.Stop()
	page.WaitState("the hub is away", func(s State) bool { return !s.Hub.Connected && s.Hub.Error != "" })
	page.Hides("your own network")
	page.Hides("keeps vmux from your network")
}
