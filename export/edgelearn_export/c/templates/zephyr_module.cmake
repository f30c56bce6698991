if(CONFIG_EDGELEARN_@MACRO@)
  zephyr_include_directories(../include)
  zephyr_library_named(edgelearn_@STEM@)
  zephyr_library_sources(
@SOURCES@)
  zephyr_library_compile_options(-ffp-contract=off) # floats must not differ by a fused multiply-add
endif()
