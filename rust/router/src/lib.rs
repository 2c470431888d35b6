//! The IoT Hub route language: parse, check, compile, evaluate; embeddable on its own.
