"""Names, paths, devices, progress, files, the store and downloads: what every room stands on."""
