# Vector kernels that keep nothing in registers are some ten times slower, and every stripe goes through these.
set_source_files_properties(raid/stream.c PROPERTIES COMPILE_OPTIONS "$<$<CONFIG:Debug>:-O2>")
