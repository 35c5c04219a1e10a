// Package settings reads what a service is told through its environment. An
// unset variable gives the default; one that cannot be read is an error, so
// that a typing mistake is not taken for the default.
package settings

import (
	"fmt"
	"os"
	"strconv"
	"time"
)

// Text is the variable's value, or the default where it is unset or empty.
func Text(name, byDefault string) string {
	if value := os.Getenv(name); value != "" {
		return value
	}
	return byDefault
}

// Number is the variable as a number of at least 0.
func Number(name string, byDefault float64) (float64, error) {
	text := os.Getenv(name)
	if text == "" {
		return byDefault, nil
	}
	number, err := strconv.ParseFloat(text, 64)
	if err != nil || !(number >= 0 && number <= 1e9) {
		return 0, fmt.Errorf("%s is %q, expected a number from 0 to 1e9", name, text)
	}
	return number, nil
}

// Seconds is the variable as a duration given in seconds.
func Seconds(name string, byDefault time.Duration) (time.Duration, error) {
	number, err := Number(name, byDefault.Seconds())
	return time.Duration(number * float64(time.Second)), err
}

// Flag is the variable as true or false.
func Flag(name string, byDefault bool) (bool, error) {
	text := os.Getenv(name)
	if text == "" {
		return byDefault, nil
	}
	flag, err := strconv.ParseBool(text)
	if err != nil {
		return false, fmt.Errorf("%s is %q, expected true or false", name, text)
	}
	return flag, nil
}
