cmake_minimum_required(VERSION 3.20)
list(APPEND EXTRA_ZEPHYR_MODULES ${CMAKE_CURRENT_SOURCE_DIR}/../..)
find_package(Zephyr REQUIRED HINTS $ENV{ZEPHYR_BASE})
project(learn_from_sensor LANGUAGES C)

target_sources(app PRIVATE src/main.c src/board_zephyr.c src/sensor_made_up.c)
