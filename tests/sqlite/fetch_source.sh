# fetch_source PACKAGE [OPTION...]: the archives of a Debian source package, into the working directory. With the
# package lists of this machine, asked for sources too, in a place of their own below $apt.
fetch_source() {
  mkdir -p "$apt/lists/partial" "$apt/archives/partial"
  cp -r /etc/apt/. "$apt/etc"
  find "$apt/etc" -name '*.sources' -exec sed -i 's/^Types:.*/Types: deb-src/' {} +
  find "$apt/etc" -name '*.list' -exec sed -i 's/^deb /deb-src /' {} +
  local options=(-o "Dir::Etc=$apt/etc" -o "Dir::State::Lists=$apt/lists" -o "Dir::Cache=$apt" -o APT::Sandbox::User=root)
  apt-get "${options[@]}" update || true  # some list may have no sources; ours is asked for next
  apt-get "${options[@]}" source --download-only "$@"
}
