target_link_options(${target} PRIVATE -Wl,--wrap=control_now_ns)
