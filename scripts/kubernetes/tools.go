//go:build tools

// Package tools names what scripts/install-kubernetes.sh builds from Kubernetes.
package tools

import (
	_ "k8s.io/kubernetes/cmd/kube-apiserver"
	_ "k8s.io/kubernetes/cmd/kubectl"
)
