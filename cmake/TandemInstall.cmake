# Filled in with the public API: headers, archives and tandemConfig.cmake.
