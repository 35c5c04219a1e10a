package release

import "testing"

func TestHotfixesByVersion(t *testing.T) {
	for version, want := range map[string]int{"1.0.0": 0, "1.0.1-rc.1": 0, "1.0.1": 5, "1.0.2": 5, "": 0, "nonsense": 0} {
		if got := len(Release{version}.Hotfixes()); got != want {
			t.Errorf("version %q carries %d hotfixes, want %d", version, got, want)
		}
	}
}

func TestUnknownHotfixIsInNoRelease(t *testing.T) {
	if (Release{"9.9.9"}).Has("TARS-9999") {
		t.Error("TARS-9999 does not exist")
	}
}
