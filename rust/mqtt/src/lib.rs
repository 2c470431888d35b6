//! Sans-IO MQTT 3.1.1 codec, topic filters and in-flight tables.
