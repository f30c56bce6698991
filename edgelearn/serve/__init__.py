"""``edgelearn serve``: the run store in a browser, while boards train. It only ever reads."""
