build/greet "$@"
