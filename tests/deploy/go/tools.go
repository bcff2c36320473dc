//go:build tools

// The programs that tests/deploy builds beside the judge.
package main

import _ "sigs.k8s.io/kustomize/kustomize/v5"
