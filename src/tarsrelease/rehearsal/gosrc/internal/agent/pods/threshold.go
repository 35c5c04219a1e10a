package pods

// Threshold counts probe results: a state is reached after enough equal
// results in a row.
type Threshold struct {
	Success, Failure int32 // results in a row that count; at least 1
	last             bool
	row              int32
}

// Observe counts one result and says whether its threshold is reached (it
// stays reached while the same results go on).
func (t *Threshold) Observe(ok bool) (reached bool) {
	if t.row == 0 || t.last != ok {
		t.last, t.row = ok, 0
	}
	t.row++
	need := t.Failure
	if ok {
		need = t.Success
	}
	return t.row >= max(1, need)
}
